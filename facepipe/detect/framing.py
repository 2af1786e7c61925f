"""Compute the square crop around a detected face.

VRN's normalisation (`facepipe.datasets.crops`) needs 68 landmarks. A detection has a box and five points,
and the square is estimated from those. The relation is fitted by `python benchmarks/face_framing.py` on
rendered faces of all poses; what it errs, there and on photos, stands in docs/detection.md.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from facepipe.detect.detection import Detection
from facepipe.imaging.crop import FACE_PX, VRN_CROP_PX, Crop

FACE_PER_BOX = 0.913
"""Side of the landmarks' box over that of the detector's, each the square root of its area."""

POINTS_SHARE = 0.583
"""How far the landmarks' mean lies from the detector's box centre toward the mean of the five points."""

DOWN_SHARE = 0.081
"""How far it then lies down the face, from the eyes to the mouth, in sides of the detector's box."""


EYES_PER_CROP = 0.2
"""Distance of the eyes of a frontal face over the side of its crop (0.194 to 0.212 on six photos). In a
profile the eyes coincide, and the crop says how large the face is."""


def eyes_px(detection: Detection, crop_px: float) -> float:
    """Distance of a face's eyes, source pixels, as it would be were the face frontal.

    Args:
        detection: the face.
        crop_px: side of its crop, see `face_crop`.
    """
    return max(detection.interocular_px, EYES_PER_CROP * crop_px)


def face_crop(detection: Detection, width: int, height: int) -> Crop:
    """The square of an image that VRN's normalisation would cut around this face, estimated.

    Args:
        detection: a face.
        width, height: of the image, source pixels. A square may reach beyond it by half its side, never
            lie outside: a face whose centre is estimated beyond the border is centred on the border.

    Returns:
        The crop, in source coordinates.
    """
    box = np.array(detection.box, np.float64)
    side_px = math.sqrt(max(detection.width_px, 1.0) * max(detection.height_px, 1.0))
    size = VRN_CROP_PX / FACE_PX * FACE_PER_BOX * side_px
    centre = estimated_centre((box[:2] + box[2:]) / 2, side_px, detection.points.astype(np.float64))
    x, y = np.clip(centre, 0, (width, height))
    return Crop(float(x - size / 2), float(y - size / 2), float(size))


def estimated_centre(
    box_centre: NDArray[np.float64], side_px: float, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the mean of the 68 landmarks is (x, y): turns with the picture and mirrors with it.

    Args:
        box_centre: (2,) of the detector's box.
        side_px: square root of its area.
        points: (5, 2) as in `Detection`.
    """
    toward = POINTS_SHARE * (points.mean(axis=0) - box_centre)
    return np.asarray(box_centre + toward + DOWN_SHARE * side_px * down(points))


def down(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vector (2,) from between the eyes to between the mouth's corners; (0, 1) where they coincide."""
    vector = points[3:].mean(axis=0) - points[:2].mean(axis=0)
    length = float(np.hypot(*vector))
    return np.asarray(vector / length) if length > 0 else np.array([0.0, 1.0])
