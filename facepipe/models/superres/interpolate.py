"""Enlarging by interpolation: nearest, bilinear, bicubic and Lanczos."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.core.names import named
from facepipe.models.superres.base import SuperResolver


@dataclass(frozen=True)
class Interpolation:
    """An interpolation of OpenCV as a method.

    OpenCV, not Pillow: its bilinear and bicubic (a = -0.75) are the ones whose figures were published
    for this task; Pillow's differ in the second decimal of the PSNR.

    Attributes:
        name: the method's name.
        flag: OpenCV's number of the interpolation.
    """

    name: str
    flag: int

    def fits(self, low_px: int) -> bool:
        """Any size up to that of the network."""
        return 1 <= low_px <= NETWORK_PX

    def fingerprint(self, low_px: int) -> str:  # noqa: ARG002
        """A digest of the interpolation's name."""
        return hashlib.sha256(f"opencv interpolation {self.name}".encode()).hexdigest()

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:  # noqa: ARG002
        """Return the resolver; it runs on the CPU whatever the device.

        Raises:
            UsageError: it does not fit the size.
        """
        if not self.fits(low_px):
            raise UsageError(f"method {self.name!r} enlarges to {NETWORK_PX} px, and was asked for {low_px}")
        return Interpolator(self.flag)


@dataclass(frozen=True)
class Interpolator:
    """Enlarges images one by one.

    Attributes:
        flag: OpenCV's number of the interpolation.
    """

    flag: int

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Enlarge uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3)."""
        restored = np.empty((len(lowres), NETWORK_PX, NETWORK_PX, 3), np.uint8)
        for image, target in zip(lowres, restored, strict=True):
            cv2.resize(image, (NETWORK_PX, NETWORK_PX), dst=target, interpolation=self.flag)
        return restored


INTERPOLATIONS = (
    Interpolation("nearest", cv2.INTER_NEAREST),
    Interpolation("bilinear", cv2.INTER_LINEAR),
    Interpolation("bicubic", cv2.INTER_CUBIC),
    Interpolation("lanczos", cv2.INTER_LANCZOS4),
)


def get_interpolation(name: str) -> Interpolation:
    """Return the interpolation of a name.

    Raises:
        UsageError: there is none of that name.
    """
    return named("interpolation", name, INTERPOLATIONS)
