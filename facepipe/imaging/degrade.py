"""Degradations: from a full-resolution crop to a low-resolution image.

Every degradation takes the crop at source resolution, never the reference: resampling twice would be
another degradation than the one named.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.names import unknown

Image8 = NDArray[np.uint8]
Degradation = Callable[[Image8, int, np.random.Generator], Image8]


def make_reference(crop: Image8) -> Image8:
    """Bring a crop (S, S, 3) to network size (128, 128, 3) by area averaging."""
    return _area(crop, NETWORK_PX)


def degrade(crop: Image8, name: str, low_px: int, seed: int, sample_id: str) -> Image8:
    """Apply a degradation.

    Args:
        crop: uint8 RGB (S, S, 3) at source resolution.
        name: one of `DEGRADATIONS`.
        low_px: side of the result.
        seed: seed of the run; with the sample_id it fixes every random draw.
        sample_id: the sample's id.

    Returns:
        uint8 RGB (low_px, low_px, 3).

    Raises:
        UsageError: the name is unknown.
    """
    if name not in DEGRADATIONS:
        raise unknown("degradation", name, DEGRADATIONS)
    digest = hashlib.sha256(f"{seed}\0{name}\0{low_px}\0{sample_id}".encode()).digest()
    generator = np.random.default_rng(np.frombuffer(digest, np.uint32))
    return DEGRADATIONS[name](crop, low_px, generator)


def _area(crop: Image8, px: int) -> Image8:
    # OpenCV's INTER_AREA becomes bilinear when it enlarges, which is what small sources need.
    return np.asarray(cv2.resize(crop, (px, px), interpolation=cv2.INTER_AREA), np.uint8)


def area(crop: Image8, px: int, _: np.random.Generator) -> Image8:
    """Average over the area of each low-resolution pixel (OpenCV INTER_AREA)."""
    return _area(crop, px)


def bicubic(crop: Image8, px: int, _: np.random.Generator) -> Image8:
    """Antialiased bicubic, a = -0.5, support scaled with the factor (Pillow), as SR papers use it."""
    return np.asarray(Image.fromarray(crop).resize((px, px), Image.Resampling.BICUBIC), np.uint8)


def linear(crop: Image8, px: int, _: np.random.Generator) -> Image8:
    """OpenCV INTER_LINEAR without antialiasing: aliased, the protocol of the 2019 study."""
    return np.asarray(cv2.resize(crop, (px, px), interpolation=cv2.INTER_LINEAR), np.uint8)


def camera(crop: Image8, px: int, generator: np.random.Generator) -> Image8:
    """A distant camera: blur, area downsampling, noise, JPEG.

    Gaussian blur of sigma 0.5-1.5 low-resolution pixels, Gaussian noise of sigma 2-10 grey levels,
    JPEG quality 40-90, each drawn uniformly.
    """
    sigma_low_px = generator.uniform(0.5, 1.5)
    sigma_noise = generator.uniform(2.0, 10.0)
    quality = int(generator.integers(40, 91))
    # Blurring at the source's resolution is exact; far above the target it costs much and changes
    # nothing, so that large sources are averaged to 8 pixels per low-resolution pixel first.
    if crop.shape[0] > 16 * px:
        crop = _area(crop, 8 * px)
    sigma_px = sigma_low_px * crop.shape[0] / px
    blurred = cv2.GaussianBlur(crop, (0, 0), sigma_px, borderType=cv2.BORDER_REPLICATE)
    small = cv2.resize(blurred, (px, px), interpolation=cv2.INTER_AREA).astype(np.float64)
    noisy = np.clip(np.rint(small + generator.normal(0.0, sigma_noise, small.shape)), 0, 255)
    bgr = np.ascontiguousarray(noisy.astype(np.uint8)[:, :, ::-1])
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


RANDOM = ("camera",)
"""Degradations that draw: their results differ by seed."""

DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {"area": area, "bicubic": bicubic, "linear": linear, "camera": camera}
)
