"""How good a super-resolver is: PSNR and SSIM on photos, beside bicubic interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facepipe.conventions import NETWORK_PX
from facepipe.faces.factory import render, sample
from facepipe.faces.head import load_head
from facepipe.faces.scene import SOURCE_PX
from facepipe.faces.seeds import face_seed
from facepipe.metrics.image import psnr_db, ssim
from facepipe.metrics.intervals import Mean, mean_of
from facepipe.metrics.ranges import TONE, YAW, by_range
from facepipe.superres.base import SuperResolver
from facepipe.superres.interpolate import get_interpolation
from facepipe.superres.material import Image8, make_pair

BASELINE = "bicubic"
FIGURES = ("psnr_db", "bicubic_psnr_db", "gain_db", "ssim", "bicubic_ssim", "gain_ssim")


@dataclass(frozen=True)
class Pair:
    """A low-resolution image and the reference that it was made from.

    Attributes:
        low: uint8 RGB (h, h, 3).
        reference: uint8 RGB (128, 128, 3).
        yaw_deg: None where unknown.
        skin_tone: 0 (lightest) to 1 (darkest), None where unknown.
    """

    low: Image8
    reference: Image8
    yaw_deg: float | None = None
    skin_tone: float | None = None


def make_pairs(images: Sequence[Image8], degradation: str, scale: int) -> list[Pair]:
    """Degrade the square in the middle of each image.

    Args:
        images: uint8 RGB (H, W, 3) each.
        degradation: one of `degrade.DEGRADATIONS`.
        scale: how many times smaller than 128 px.
    """
    low_px = NETWORK_PX // scale
    pairs = (
        make_pair(_middle(image), degradation, low_px, 0, str(index)) for index, image in enumerate(images)
    )
    return [Pair(low, reference) for low, reference in pairs]


@dataclass(frozen=True)
class Source:
    """An image from which pairs are made.

    Attributes:
        square: uint8 RGB (S, S, 3), S >= 128.
        key: seeds what a degradation draws.
        yaw_deg, skin_tone: as in `Pair`.
    """

    square: Image8
    key: str
    yaw_deg: float | None = None
    skin_tone: float | None = None

    def pair(self, degradation: str, low_px: int) -> Pair:
        """Degrade the image to a side of ``low_px`` pixels."""
        low, reference = make_pair(self.square, degradation, low_px, 0, self.key)
        return Pair(low, reference, self.yaw_deg, self.skin_tone)


def factory_sources(count: int) -> Iterator[Source]:
    """Make the first faces of the test seeds, on which no training looks."""
    head = load_head()
    for index in range(count):
        face = sample(face_seed("test", index), head)
        picture = render(face, SOURCE_PX, head)
        yield Source(picture, str(index), math.degrees(face.pose.yaw_rad), face.skin_tone)


def _middle(image: Image8) -> Image8:
    side = min(image.shape[:2])
    y, x = ((extent - side) // 2 for extent in image.shape[:2])
    return np.ascontiguousarray(image[y : y + side, x : x + side])


def compare(resolver: SuperResolver, pairs: Iterable[Pair]) -> dict[str, Mean]:
    """Restore images and compare them, and their bicubic enlargements, with the references.

    Args:
        resolver: for the size of the low-resolution images.
        pairs: one or more.

    Returns:
        Means over images of `psnr_db`, `bicubic_psnr_db`, their difference `gain_db`, and the same of `ssim`.
    """
    return _means([figures for _, figures in _compared(resolver, pairs)])


def compare_groups(resolver: SuperResolver, pairs: Iterable[Pair]) -> dict[str, dict[str, Mean]]:
    """Compare as `compare` does: 'all', and ranges of |yaw| and skin tone where these are known."""
    rows = list(_compared(resolver, pairs))
    tables = {"all": _means([figures for _, figures in rows])}
    for what in (YAW, TONE):
        tables |= {name: _means(chosen) for name, chosen in by_range(what, rows).items()}
    return tables


def _compared(resolver: SuperResolver, pairs: Iterable[Pair]) -> Iterator[tuple[Pair, tuple[float, ...]]]:
    baseline = get_interpolation(BASELINE)
    for pair in pairs:
        low = pair.low[None]
        restored = resolver(low)[0]
        enlarged = baseline.build(pair.low.shape[0])(low)[0]
        network_db, baseline_db = psnr_db(pair.reference, restored), psnr_db(pair.reference, enlarged)
        network, of_baseline = ssim(pair.reference, restored), ssim(pair.reference, enlarged)
        gains = network_db - baseline_db, network - of_baseline
        yield pair, (network_db, baseline_db, gains[0], network, of_baseline, gains[1])


def _means(rows: Sequence[tuple[float, ...]]) -> dict[str, Mean]:
    return {name: mean_of(column) for name, column in zip(FIGURES, np.array(rows).T, strict=True)}
