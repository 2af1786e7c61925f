"""Whether landmarks are those of the pose that stands beside them.

Copies of 300W-LP are about whose turned versions carry the landmarks of the photo that they were made from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.geometry.head import load_head
from facepipe.geometry.morphable import Pose

MAX_MISFIT = 0.15
"""Landmarks of the pose beside them lie within 0.09 (0.02 to 0.07 on ten photos of 300W-LP and AFLW2000-3D,
up to 0.088 on 64 drawn faces, some with open mouths); those of a version turned by 25 degrees more at 0.17,
by 70 at 0.24."""

_INNER = slice(17, 68)
"""Without the jaw: in many files its points follow the visible outline."""


def landmark_misfit(points: NDArray[np.floating], pose: Pose) -> float:
    """How far landmarks lie from those of a mean head in a pose.

    Only the pose's rotation counts: place and size are fitted, since models differ in them.

    Args:
        points: (68, 2 or more), x and y in source pixels.
        pose: in the 300W-LP convention.

    Returns:
        Root mean square distance over the inner 51 landmarks, in sqrt(width x height) of their box.
    """
    model = load_head().model
    posed = pose.apply(model.mean[model.landmarks], 0)[_INNER, :2]
    found = np.asarray(points, np.float64)[_INNER, :2]
    box_px = float(np.sqrt(np.prod(np.ptp(found, axis=0))))
    posed, found = posed - posed.mean(axis=0), found - found.mean(axis=0)
    scale = max(0.0, float((posed * found).sum() / (posed**2).sum()))
    return float(np.sqrt(((found - scale * posed) ** 2).sum(axis=1).mean())) / max(box_px, 1e-9)


def check_pose(points: NDArray[np.floating], pose: Pose, name: str) -> None:
    """Refuse landmarks of another pose.

    Raises:
        SampleError: landmarks-not-of-pose.
    """
    misfit = landmark_misfit(points, pose)
    if misfit > MAX_MISFIT:
        raise SampleError(
            "landmarks-not-of-pose",
            f"{name}: its landmarks do not belong to its Pose_Para, a yaw of {np.degrees(pose.yaw_rad):.0f} "
            f"degrees (they lie {misfit:.0%} of the face's size from a head in that pose, at most "
            f"{MAX_MISFIT:.0%} are believed); perhaps those of the photo that this version was made from: "
            "get the data set from its authors",
        )
