"""Annotated photographs as training examples: people drawn evenly, cut as different framings give them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.core.tables import read_table
from facepipe.datasets.annotated import INDEX_FILE, AnnotatedPhotos, is_turned
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Sample, SampleRef
from facepipe.imaging.crop import Crop, full_crop
from facepipe.lab.vrn.augment import draw_similarity, rephotograph
from facepipe.lab.vrn.photo_augment import augment_picture

FACE_CROP_SHARE, FULL_SHARE = 0.45, 0.3
"""How often a photograph is cut around its face, and taken whole; the others are cut somewhere between."""

TURNED_SHARE = 0.4
"""How many photographs are turned views, where there are any."""

DARK_TONE, DARK_WEIGHT = 0.5, 2.0
TURNED_DEG, TURNED_WEIGHT = 20.0, 2.0
"""Dark faces, and those that look to the side, are rare in portraits and drawn so much more often."""

AS_TAKEN_SHARE = 0.5
"""Share of photographs that are not augmented further: they were taken by real cameras."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph with its mesh.

    Attributes:
        sample: as the data set gives it.
    """

    sample: Sample

    def view(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """The photograph cut, moved, treated and photographed anew, with its mesh, reference pixels."""
        crop = self._framing(rng)
        change = draw_similarity(rng)
        # Reduced by averaging first: what is left for the warp is nearly its own size.
        photo, truth = self.sample.image, self.sample.truth
        factor = max(1.0, crop.size / (NETWORK_PX * change.scale))
        side = max(1, round(photo.shape[0] / factor))
        reduced = (
            cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA) if side < photo.shape[0] else photo
        )
        share = side / photo.shape[0]
        image = change.cut(
            np.asarray(reduced, np.uint8), Crop(crop.x0 * share, crop.y0 * share, crop.size * share)
        )
        if rng.random() >= AS_TAKEN_SHARE:
            image = augment_picture(image, rng)
        assert truth.vertices is not None
        return rephotograph(image, rng), change.points(crop.to_reference(truth.vertices))

    def _framing(self, rng: np.random.Generator) -> Crop:
        height, width = self.sample.image.shape[:2]
        whole, face = full_crop(width, height), crop_for(self.sample, "landmarks")
        chosen = rng.random()
        if chosen < FACE_CROP_SHARE:
            return face
        if chosen < FACE_CROP_SHARE + FULL_SHARE:
            return whole
        share = float(rng.random())
        size = math.exp((1 - share) * math.log(face.size) + share * math.log(whole.size))
        x0 = (1 - share) * (face.x0 + face.size / 2) + share * whole.size / 2 - size / 2
        y0 = (1 - share) * (face.y0 + face.size / 2) + share * whole.size / 2 - size / 2
        return Crop(x0, y0, size)


@dataclass(frozen=True)
class PhotoSet:
    """A folder of annotated photographs, of which a training sees those for training.

    Attributes:
        folder: where they are.
    """

    folder: str

    def sha256(self) -> str:
        """Digest of what is known about the photographs.

        Raises:
            UsageError: there is no such folder, or it holds no annotated photographs.
        """
        try:
            return hashlib.sha256((Path(self.folder) / INDEX_FILE).read_bytes()).hexdigest()
        except OSError as error:
            raise UsageError(
                f"--photos {self.folder}: no annotated photographs there ({error.strerror}: {INDEX_FILE}); "
                "make them with 'facepipe data annotate'"
            ) from error

    def draw(self, count: int, rng: np.random.Generator) -> list[Photograph]:
        """Draw photographs with their meshes."""
        known = _opened(self.folder)
        return [Photograph(known.dataset.load(known.one(rng))) for _ in range(count)]

    def validation(self, count: int) -> list[Sample]:
        """The first photographs of the people for validation."""
        dataset = open_dataset(self.folder, "annotated", split="validation")
        refs = [ref for ref in dataset.refs() if not is_turned(ref)]
        return [dataset.load(ref) for ref in refs[:count]]


@dataclass(frozen=True, eq=False)
class _Opened:
    dataset: AnnotatedPhotos
    refs: list[SampleRef]
    weights: NDArray[np.float64]
    turned: list[SampleRef]

    def one(self, rng: np.random.Generator) -> SampleRef:
        if self.turned and rng.random() < TURNED_SHARE:
            return self.turned[int(rng.integers(len(self.turned)))]
        return self.refs[int(rng.choice(len(self.refs), p=self.weights))]


@lru_cache(maxsize=1)
def _opened(folder: str) -> _Opened:
    dataset = open_dataset(folder, "annotated")
    assert isinstance(dataset, AnnotatedPhotos)
    rows = {row["sample_id"]: row for row in read_table(Path(folder) / INDEX_FILE).to_pylist()}
    refs = [ref for ref in dataset.refs() if rows.get(ref.sample_id, {}).get("split") == "training"]
    if not refs:
        raise UsageError(f"--photos {folder}: no photographs for training there")
    plain = [ref for ref in refs if not is_turned(ref)]
    weights = np.array([_weight(rows[ref.sample_id]) for ref in plain])
    return _Opened(dataset, plain, weights / weights.sum(), [ref for ref in refs if is_turned(ref)])


def _weight(row: dict) -> float:
    dark = row["skin_tone"] is not None and row["skin_tone"] > DARK_TONE
    turned = abs(row["yaw_deg"]) > TURNED_DEG
    return (DARK_WEIGHT if dark else 1.0) * (TURNED_WEIGHT if turned else 1.0)
