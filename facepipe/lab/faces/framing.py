"""Poses and framing: how heads turn and where they lie in a picture of 300W-LP's kind."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.morphable import SOURCE_PX, MorphableModel, Pose

LANDMARK_BOX_PX = 188.0
"""Usual size, square root of the area, of an unturned face's landmark box in 300W-LP and AFLW2000-3D, where
it falls to about 150 in profile."""

PROFILE_SHRINK = 0.12
"""How much smaller turned heads are drawn: the scales in AFLW2000-3D fall from about 0.0014 to 0.00117."""

LANDMARK_CENTRE_PX = (232.0, 272.0)

WIDE_SHARE = 0.08
"""How many heads may be pitched and rolled by anything up to the highest angles."""

MAX_YAW_RAD, MAX_PITCH_RAD, MAX_ROLL_RAD = math.pi / 2, math.pi / 4, math.pi / 4


def draw_pose(
    rng: np.random.Generator,
    model: MorphableModel,
    vertices_mm: NDArray[np.float32],
    wide_share: float = WIDE_SHARE,
) -> Pose:
    """Draw a pose for a mesh (V, 3): half near frontal, half uniform in yaw up to 90 degrees."""
    yaw = rng.normal(0, 0.30) if rng.random() < 0.45 else rng.uniform(-MAX_YAW_RAD, MAX_YAW_RAD)
    wide = rng.random() < wide_share
    pitch = rng.uniform(-MAX_PITCH_RAD, MAX_PITCH_RAD) if wide else rng.normal(-0.02, 0.20)
    roll = rng.uniform(-MAX_ROLL_RAD, MAX_ROLL_RAD) if wide else rng.normal(0, 0.16)
    pose = Pose(
        float(np.clip(pitch, -MAX_PITCH_RAD, MAX_PITCH_RAD)),
        float(np.clip(yaw, -MAX_YAW_RAD, MAX_YAW_RAD)),
        float(np.clip(roll, -MAX_ROLL_RAD, MAX_ROLL_RAD)),
        (0.0, 0.0, 0.0),
        1.0,
    )
    centre = np.array(LANDMARK_CENTRE_PX) + rng.normal(0, 12, 2)
    box_px = float(rng.normal(LANDMARK_BOX_PX, 13)) * (1 - PROFILE_SHRINK * math.sin(pose.yaw_rad) ** 2)
    return frame(pose, model, vertices_mm, box_px, centre)


def frame(
    pose: Pose,
    model: MorphableModel,
    vertices_mm: NDArray[np.float32],
    box_px: float,
    centre_px: NDArray[np.floating],
) -> Pose:
    """Give a pose the scale and translation that put the landmarks' box where it is wanted.

    The solid's depth range is centred on z = 0.

    Args:
        box_px: square root of the area that the landmarks' box has when the head is not turned. Turning
            makes it smaller, as in 300W-LP, whose faces keep their scale.
        centre_px: (x, y) of the box's centre, continuous pixels of the 450 px picture.
    """
    turned = vertices_mm @ pose.rotation().T
    points = turned[model.landmarks, :2]
    extent = np.ptp(vertices_mm[model.landmarks, :2], axis=0)
    scale = box_px / float(np.sqrt(extent[0] * extent[1]))
    middle = (points.min(0) + points.max(0)) / 2 * scale
    depth = turned[np.unique(model.solid), 2] * scale
    x = float(centre_px[0]) + 0.5 - float(middle[0])
    y = SOURCE_PX + 0.5 - float(centre_px[1]) - float(middle[1])
    return replace(pose, scale=scale, translation_px=(x, y, -float(depth.min() + depth.max()) / 2))
