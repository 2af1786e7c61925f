"""Measure a super-resolver: PSNR and SSIM on photos, beside bicubic interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facepipe.core.conventions import NETWORK_PX
from facepipe.geometry.head import load_head
from facepipe.geometry.morphable import SOURCE_PX
from facepipe.imaging.degrade import RANDOM, degrade, make_reference
from facepipe.lab.faces.factory import render, sample
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.superres.training_data import Image8
from facepipe.metrics.image import psnr_db, ssim
from facepipe.metrics.intervals import Estimate, mean_of
from facepipe.metrics.ranges import TONE, YAW, by_range
from facepipe.models.superres.base import SuperResolver
from facepipe.models.superres.interpolate import get_interpolation

BASELINE = "bicubic"
FIGURES = ("psnr_db", "bicubic_psnr_db", "gain_db", "ssim", "bicubic_ssim", "gain_ssim")


DRAWS = 8
"""Low-resolution images of each reference where a degradation draws: its luck moves a mean of a dozen photos
by a few tenths of a dB."""


@dataclass(frozen=True)
class Pair:
    """Low-resolution images and the reference that they were made from.

    Attributes:
        lows: uint8 RGB (h, h, 3) each: one, or `DRAWS` where the degradation draws.
        reference: uint8 RGB (128, 128, 3).
        yaw_deg: None where unknown.
        skin_tone: 0 (lightest) to 1 (darkest), None where unknown.
    """

    lows: tuple[Image8, ...]
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
    sources = (Source(_middle(image), str(index)) for index, image in enumerate(images))
    return [source.pair(degradation, NETWORK_PX // scale) for source in sources]


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
        draws = DRAWS if degradation in RANDOM else 1
        lows = tuple(degrade(self.square, degradation, low_px, seed, self.key) for seed in range(draws))
        return Pair(lows, make_reference(self.square), self.yaw_deg, self.skin_tone)


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


def compare(resolver: SuperResolver, pairs: Iterable[Pair]) -> dict[str, Estimate]:
    """Restore images and compare them, and their bicubic enlargements, with the references.

    Args:
        resolver: for the size of the low-resolution images.
        pairs: one or more.

    Returns:
        Means over images of `psnr_db`, `bicubic_psnr_db`, their difference `gain_db`, and the same of `ssim`.
    """
    return _means([figures for _, figures in _compared(resolver, pairs)])


def compare_groups(resolver: SuperResolver, pairs: Iterable[Pair]) -> dict[str, dict[str, Estimate]]:
    """Compare as `compare` does: 'all', and ranges of |yaw| and skin tone where these are known."""
    rows = list(_compared(resolver, pairs))
    tables = {"all": _means([figures for _, figures in rows])}
    for what in (YAW, TONE):
        tables |= {name: _means(chosen) for name, chosen in by_range(what, rows).items()}
    return tables


def _compared(resolver: SuperResolver, pairs: Iterable[Pair]) -> Iterator[tuple[Pair, tuple[float, ...]]]:
    baseline = get_interpolation(BASELINE)
    for pair in pairs:
        rows = []
        for low in pair.lows:
            restored = resolver(low[None])[0]
            enlarged = baseline.build(low.shape[0])(low[None])[0]
            network_db, baseline_db = psnr_db(pair.reference, restored), psnr_db(pair.reference, enlarged)
            network, of_baseline = ssim(pair.reference, restored), ssim(pair.reference, enlarged)
            gains = network_db - baseline_db, network - of_baseline
            rows.append((network_db, baseline_db, gains[0], network, of_baseline, gains[1]))
        yield pair, tuple(map(float, np.mean(rows, axis=0)))


def _means(rows: Sequence[tuple[float, ...]]) -> dict[str, Estimate]:
    return {name: mean_of(column) for name, column in zip(FIGURES, np.array(rows).T, strict=True)}
