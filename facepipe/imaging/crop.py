"""The square of a source image that the networks see, with its way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import SampleError

FACE_PX = 90.0
"""VRN's normalisation: side of a square of the 68 landmarks' box in the crop of `VRN_CROP_PX`."""

VRN_CROP_PX = 192.0

MAX_CROP_PX = 16_000
"""Longest side of a crop: a square of four times the largest picture that is decoded. What is longer would
take gigabytes, though the picture that it is drawn around is small."""


@dataclass(frozen=True)
class Crop:
    """A square in continuous source coordinates.

    Attributes:
        x0, y0: its upper left corner, source pixels; may lie outside the image.
        size: its side, source pixels.
    """

    x0: float
    y0: float
    size: float

    @property
    def scale(self) -> float:
        """Reference pixels per source pixel."""
        return NETWORK_PX / self.size

    def to_reference(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map source points (..., 2 or 3) to reference coordinates; z is scaled alike."""
        return self._shift(points, -1.0) * self.scale

    def to_source(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map reference points (..., 2 or 3) back to source coordinates: the inverse of `to_reference`."""
        return self._shift(points / self.scale, 1.0)

    def _shift(self, points: NDArray[np.floating], sign: float) -> NDArray[np.floating]:
        offset = np.zeros(points.shape[-1], np.float64)
        offset[:2] = self.x0, self.y0
        return np.asarray(points + sign * offset)

    def check_size(self) -> None:
        """Refuse a square that would take too much memory, as that around a long and narrow picture.

        Raises:
            SampleError: crop-too-large.
        """
        if self.size > MAX_CROP_PX:
            raise SampleError(
                "crop-too-large",
                f"a square of {self.size:.0f} px around the picture, at most {MAX_CROP_PX} px are cut; "
                "cut the picture to its face, or choose --crop face",
            )

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the crop out of an image (H, W, 3) at source resolution; outside is black.

        A crop on whole pixels is copied exactly; any other is resampled bilinearly at its own scale.

        Raises:
            SampleError: crop-too-large.
        """
        self.check_size()
        side = max(1, round(self.size))
        if all(float(value).is_integer() for value in (self.x0, self.y0, self.size)):
            return self._copy(image, side)
        step = self.size / side
        offset_x = self.x0 + 0.5 * step - 0.5
        offset_y = self.y0 + 0.5 * step - 0.5
        matrix = np.array([[step, 0, offset_x], [0, step, offset_y]], np.float64)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, matrix, (side, side), flags=flags), np.uint8)

    def _copy(self, image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        x0, y0 = int(self.x0), int(self.y0)
        if x0 == 0 and y0 == 0 and height == width == side:
            return image
        square = np.zeros((side, side, image.shape[2]), np.uint8)
        left, top = max(x0, 0), max(y0, 0)
        right, bottom = min(x0 + side, width), min(y0 + side, height)
        if right > left and bottom > top:
            square[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
        return square


def full_crop(width: int, height: int) -> Crop:
    """The whole image, centred in a square and padded (`--crop full`)."""
    size = max(width, height)
    return Crop(float(-((size - width) // 2)), float(-((size - height) // 2)), float(size))
