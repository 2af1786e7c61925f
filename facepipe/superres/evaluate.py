"""How good a super-resolver is: PSNR and SSIM on photos, beside bicubic interpolation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from facepipe.conventions import NETWORK_PX
from facepipe.metrics.image import psnr_db, ssim
from facepipe.metrics.intervals import Mean, mean_of
from facepipe.superres.base import SuperResolver
from facepipe.superres.interpolate import get_interpolation
from facepipe.superres.material import Image8, make_pair

BASELINE = "bicubic"


@dataclass(frozen=True)
class Pair:
    """A low-resolution image and the reference that it was made from.

    Attributes:
        low: uint8 RGB (h, h, 3).
        reference: uint8 RGB (128, 128, 3).
    """

    low: Image8
    reference: Image8


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
    baseline = get_interpolation(BASELINE)
    rows = []
    for pair in pairs:
        low = pair.low[None]
        restored = resolver(low)[0]
        enlarged = baseline.build(pair.low.shape[0])(low)[0]
        network_db, baseline_db = psnr_db(pair.reference, restored), psnr_db(pair.reference, enlarged)
        network, of_baseline = ssim(pair.reference, restored), ssim(pair.reference, enlarged)
        row = (network_db, baseline_db, network_db - baseline_db, network, of_baseline, network - of_baseline)
        rows.append(row)
    names = ("psnr_db", "bicubic_psnr_db", "gain_db", "ssim", "bicubic_ssim", "gain_ssim")
    return {name: mean_of(column) for name, column in zip(names, np.array(rows).T, strict=True)}
