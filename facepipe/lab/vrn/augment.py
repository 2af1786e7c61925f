"""Augmentation of examples: another place, another camera, a lower resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.imaging.crop import Crop
from facepipe.imaging.degrade import DEGRADATIONS
from facepipe.lab.faces.camera import draw_camera, photograph

CENTRE_PX = (64.0, 71.0)
"""About which faces are turned and scaled: where the middle of a face usually lies."""

FLIP_SHARE, BORDER_SHARE, CAMERA_SHARE = 0.5, 0.3, 0.6
"""How often a picture is mirrored, gets black instead of mirrored borders, and passes another camera."""

SCALE_SPREAD, ANGLE_SPREAD_RAD, SHIFT_SPREAD_PX = 0.09, 0.12, 4.0
"""Standard deviations of log scale, angle and shift."""

_GAMMA = 2.2

LOWEST_PX = 12
"""Smallest side to which pictures are brought for a regressor that shall know low resolution."""


@dataclass(frozen=True)
class Similarity:
    """A change of the picture's plane that a solid face follows exactly.

    Attributes:
        flip: mirror left and right, first.
        scale: enlargement about `CENTRE_PX`; depth about z = 0 is enlarged alike.
        angle_rad: rotation about `CENTRE_PX`, positive from x (right) to y (down).
        shift_px: (x, y), last.
        black: what lies outside the picture is black, else mirrored.
    """

    flip: bool = False
    scale: float = 1.0
    angle_rad: float = 0.0
    shift_px: tuple[float, float] = (0.0, 0.0)
    black: bool = True

    def points(self, points: NDArray[np.floating]) -> NDArray[np.float32]:
        """Move points (N, 3), continuous reference pixels."""
        linear, offset = self._affine()
        moved = np.empty(points.shape, np.float64)
        moved[:, :2] = points[:, :2] @ linear.T + offset
        moved[:, 2] = points[:, 2] * self.scale
        return moved.astype(np.float32)

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Move a picture, uint8 RGB (128, 128, 3)."""
        return self.cut(image, Crop(0.0, 0.0, float(NETWORK_PX)))

    def cut(self, image: NDArray[np.uint8], crop: Crop) -> NDArray[np.uint8]:
        """Cut a square out of a picture, uint8 RGB (H, W, 3), and move it: uint8 RGB (128, 128, 3).

        Resampled bilinearly: the picture should not be much larger than the square's share of it.
        """
        linear, offset = self._affine()
        offset = offset - linear @ (crop.x0, crop.y0) * crop.scale
        linear = linear * crop.scale
        # OpenCV counts pixel centres at whole numbers.
        indices = np.column_stack([linear, linear @ (0.5, 0.5) + offset - 0.5])
        border = cv2.BORDER_CONSTANT if self.black else cv2.BORDER_REFLECT
        size = (NETWORK_PX, NETWORK_PX)
        return np.asarray(cv2.warpAffine(image, indices, size, borderMode=border), np.uint8)

    def _affine(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The map x -> linear x + offset of continuous coordinates."""
        cos, sin = self.scale * math.cos(self.angle_rad), self.scale * math.sin(self.angle_rad)
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = np.asarray(CENTRE_PX) - linear @ CENTRE_PX + self.shift_px
        if self.flip:
            offset = offset + linear @ (NETWORK_PX, 0.0)
            linear = linear * (-1.0, 1.0)
        return linear, offset


def draw_similarity(rng: np.random.Generator) -> Similarity:
    """Draw a moderate change."""
    x, y = rng.normal(0, SHIFT_SPREAD_PX, 2)
    return Similarity(
        flip=bool(rng.random() < FLIP_SHARE),
        scale=float(np.exp(rng.normal(0, SCALE_SPREAD))),
        angle_rad=float(rng.normal(0, ANGLE_SPREAD_RAD)),
        shift_px=(float(x), float(y)),
        black=bool(rng.random() < BORDER_SHARE),
    )


def rephotograph(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Let a share of pictures, uint8 RGB (128, 128, 3), pass another camera; the others stay as they are."""
    if rng.random() >= CAMERA_SHARE:
        return image
    camera = draw_camera(rng)
    # The picture was developed once: highlights are rolled off already, contrast is half way there.
    camera = replace(camera, shoulder=0.0, contrast=math.sqrt(camera.contrast))
    light = np.asarray((image / 255) ** _GAMMA, np.float32)
    return photograph(light, camera)


def lower(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bring a picture, uint8 RGB (128, 128, 3), to a drawn lower resolution and enlarge it bilinearly.

    The side is drawn uniformly in its logarithm from `LOWEST_PX` to 128, the degradation among all.
    """
    side = round(math.exp(rng.uniform(math.log(LOWEST_PX), math.log(NETWORK_PX))))
    degradation = DEGRADATIONS[str(rng.choice(list(DEGRADATIONS)))]
    small = degradation(image, side, rng)
    size = (NETWORK_PX, NETWORK_PX)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
