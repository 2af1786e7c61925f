"""A detected face: box, score and five points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

POINT_NAMES = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""The rows of `Detection.points`, in the subject's own right and left."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A face in an image, in continuous source pixels.

    Attributes:
        box: (x0, y0, x1, y1).
        score: 0 to 1, how sure the detector is.
        points: float32 (5, 2): eye centres, tip of the nose, corners of the mouth. Of each pair the
            subject's right one comes first, which lies left in the image of an upright face.
    """

    box: tuple[float, float, float, float]
    score: float
    points: NDArray[np.float32] = field(repr=False)

    @property
    def width_px(self) -> float:
        """Width of the box."""
        return self.box[2] - self.box[0]

    @property
    def height_px(self) -> float:
        """Height of the box."""
        return self.box[3] - self.box[1]

    @property
    def interocular_px(self) -> float:
        """Distance between the centres of the eyes; in a profile it shrinks toward zero."""
        return math.dist(self.points[0].tolist(), self.points[1].tolist())


def main_face(detections: Sequence[Detection]) -> Detection | None:
    """The face that a picture is about: the largest area of the box times score, or None without any."""
    return max(detections, key=lambda face: face.width_px * face.height_px * face.score, default=None)
