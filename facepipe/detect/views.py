"""Reduced and turned views of a picture, and how to map detections back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.detect.centerface import Candidates


@dataclass(frozen=True)
class Look:
    """One way of looking at a picture.

    Attributes:
        max_side_px: larger pictures are reduced to this side; smaller ones are seen as they are.
        turn_deg: how far the picture is turned first, counter-clockwise on the screen, so that faces whose
            heads lean as far to the image's right stand upright.
        max_face_px: larger boxes, in pixels as seen, are left to a look that reduces further.
    """

    max_side_px: int
    turn_deg: float = 0.0
    max_face_px: float = math.inf

    def reduces(self, height: int, width: int) -> bool:
        """Whether a picture of this size is seen smaller than it is."""
        return max(height, width) > self.max_side_px


@dataclass(frozen=True, eq=False)
class View:
    """What is seen.

    Attributes:
        image: uint8 RGB (h, w, 3).
        to_source: (2, 3), continuous pixels of `image` to those of the picture.
    """

    image: NDArray[np.uint8]
    to_source: NDArray[np.float64]

    def back(self, found: Candidates) -> Candidates:
        """Bring candidates to the picture's pixels.

        A box becomes the upright box around the ellipse that touched it: around the box itself, a turned
        face's would grow by half.
        """
        linear, shift = self.to_source[:, :2], self.to_source[:, 2]
        low, high = found.boxes[:, :2].astype(np.float64), found.boxes[:, 2:].astype(np.float64)
        centre = (low + high) / 2 @ linear.T + shift
        half = np.sqrt(((high - low) / 2) ** 2 @ (linear**2).T)
        return Candidates(
            np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
            found.scores,
            (found.points @ linear.T + shift).astype(np.float32),
        )


def look_at(image: NDArray[np.uint8], look: Look) -> View:
    """Reduce a picture, uint8 RGB (H, W, 3), by area averaging and turn it; what comes in is black."""
    height, width = image.shape[:2]
    seen, to_source = image, np.eye(2, 3)
    if look.reduces(height, width):
        scale = look.max_side_px / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        seen = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        to_source = np.array([[width / size[0], 0, 0], [0, height / size[1], 0]])
    if look.turn_deg:
        seen, to_seen = _turned(seen, look.turn_deg)
        to_source = to_source @ np.vstack([to_seen, [0, 0, 1]])
    return View(seen, to_source)


def _turned(image: NDArray[np.uint8], turn_deg: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A picture turned about its centre on a canvas that holds all of it, and (2, 3) back to it."""
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    # A right angle gives whole sides: without rounding, 1e-16 would add a pixel.
    sides = np.abs([[cos, sin], [sin, cos]]) @ (width, height)
    new_width, new_height = (math.ceil(round(side, 6)) for side in sides)
    linear = np.array([[cos, -sin], [sin, cos]])
    shift = np.array([width, height]) / 2 - linear @ (new_width / 2, new_height / 2)
    # OpenCV counts from the centre of the first pixel, we from its corner.
    shift_cv = shift + linear @ (0.5, 0.5) - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    turned = cv2.warpAffine(image, np.column_stack([linear, shift_cv]), (new_width, new_height), flags=flags)
    return np.asarray(turned, np.uint8), np.column_stack([linear, shift])
