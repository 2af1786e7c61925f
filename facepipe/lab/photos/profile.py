"""Turning a photograph out of its plane: the photograph laid over the fitted head and its surroundings.

After Zhu et al., 'Face alignment across large poses: a 3D solution' (CVPR 2016), which made 300W-LP so: every
pixel gets a depth, that of the head where it is and one that fades into the surroundings elsewhere, and the
whole is turned about an upright axis through the head, further to the side that it looks to, so that what
turns out of sight needs no picture. What comes into sight and is not in the photograph is not smeared: it is
filled in from what lies around it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError
from facepipe.datasets.parameters import check_landmarks
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import FittedHead
from facepipe.geometry.morphable import SOURCE_PX, Pose
from facepipe.lab.faces.raster import NOTHING, rasterise

STEP_PX = 3
"""Side of a cell of the grid that carries the photograph."""

LARGEST_YAW_DEG = 80.0
LEAST_TURN_DEG = 15.0
"""How much further a view is turned at least, and how far in all at most."""

AXIS_MM = (0.0, 0.0, -75.0)
"""A point of the axis about which heads are turned, in the head's frame."""

FADE_SHARE = 0.55
"""How far beyond the head the surroundings go with it, in sizes of the head."""

_MIRRORED = np.array([1.0, -1.0, 1.0])

MOST_STRETCHED = 4.0
"""Cells that become so many times as wide show what the photograph does not."""


def draw_turn(yaw_rad: float, rng: np.random.Generator) -> float | None:
    """How much further to turn a head to the side that it looks to, radians; None where that is enough."""
    side = math.copysign(1.0, yaw_rad) if abs(yaw_rad) > math.radians(5) else float(rng.choice([-1, 1]))
    now, most = side * math.degrees(yaw_rad), LARGEST_YAW_DEG
    if most - now < LEAST_TURN_DEG:
        return None
    return side * math.radians(float(rng.uniform(LEAST_TURN_DEG, most - now)))


def turned(
    image: NDArray[np.uint8], head: FittedHead, turn_rad: float
) -> tuple[NDArray[np.uint8], FittedHead]:
    """Turn a photograph with its head about an upright axis through the head.

    Args:
        image: uint8 RGB (450, 450, 3).
        head: fitted to it.
        turn_rad: added to the yaw.

    Returns:
        The turned view, and the head posed in it.
    """
    posed = head.pose.apply(head.vertices_mm, SOURCE_PX)
    pose = _turned_pose(head.pose, turn_rad)
    depth, away = _depth(posed)
    corners, triangles = _grid()
    at = corners[:, 1], corners[:, 0]
    points = _move(corners, depth[at], away[at], head.pose, pose)
    return _draw(image, points, triangles, corners), replace(head, pose=pose)


def leaves_picture(head: FittedHead) -> bool:
    """Whether a turned head lies so far outside the picture that no reader would take it for its face."""
    points = head.pose.apply(head.vertices_mm[load_head().model.landmarks], SOURCE_PX).astype(np.float32)
    try:
        check_landmarks(points, SOURCE_PX, SOURCE_PX, "")
    except SampleError:
        return True
    return False


def _turned_pose(pose: Pose, turn_rad: float) -> Pose:
    before = pose.apply(np.array([AXIS_MM]), SOURCE_PX)[0]
    # x right, y up, z to the camera; positive yaw turns the face to the image's left.
    cos, sin = math.cos(turn_rad), math.sin(turn_rad)
    turn = np.array([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])
    matrix = np.eye(4)
    matrix[:3, :3] = pose.scale * turn @ pose.rotation()
    centre = before * (1.0, -1.0, 1.0)
    matrix[:3, 3] = centre - matrix[:3, :3] @ np.array(AXIS_MM)
    return Pose.from_matrix(matrix, SOURCE_PX)


def _depth(posed: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of every pixel (450, 450): its depth, the head's or what its rim fades into, and how far the head is.

    Distances are in sizes of the head, 0 on it.
    """
    fragments = rasterise(posed.astype(np.float32), load_head().head_solid, SOURCE_PX)
    seen = fragments.triangle != NOTHING
    depth = np.where(seen, fragments.depth, 0).astype(np.float32)
    away = cv2.distanceTransform((~seen).astype(np.uint8), cv2.DIST_L2, 5) / math.sqrt(
        max(1.0, float(seen.sum()))
    )
    smooth = cv2.resize(_spread(depth, seen), (SOURCE_PX, SOURCE_PX), interpolation=cv2.INTER_CUBIC)
    return np.where(seen, depth, smooth), np.asarray(away, np.float32)


def _spread(depth: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The depth that the head's rim fades into, on a grid of an eighth: blurred more with distance."""
    side = SOURCE_PX // 8
    known = cv2.resize(seen.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    total = cv2.resize(depth * seen, (side, side), interpolation=cv2.INTER_AREA)
    filled = total / np.maximum(known, 1e-6)
    covered = known > 0
    for sigma in (0.7, 1.5, 3, 6, 12):
        share = cv2.GaussianBlur(known, (0, 0), sigma)
        new = ~covered & (share > 0.02)
        filled[new] = (cv2.GaussianBlur(total, (0, 0), sigma) / np.maximum(share, 1e-6))[new]
        covered |= new
    filled[~covered] = float(np.median(filled[covered])) if covered.any() else 0.0
    return np.asarray(cv2.GaussianBlur(filled, (0, 0), 1.0), np.float32)


def _move(
    corners: NDArray[np.int32],
    depth: NDArray[np.float32],
    away: NDArray[np.float32],
    before: Pose,
    after: Pose,
) -> NDArray[np.float32]:
    """Where pixels (C, 2) go, (C, 3): with the head near it, nowhere far from it, and there behind it."""
    still = np.column_stack([corners + 0.5, depth]).astype(np.float64)
    centre = before.apply(np.array([AXIS_MM]), SOURCE_PX)[0]
    turn = after.rotation() @ before.rotation().T
    carried = ((still - centre) * _MIRRORED @ turn.T) * _MIRRORED + centre
    share = np.clip(1 - away / FADE_SHARE, 0, 1)[:, None]
    share = share * share * (3 - 2 * share)
    behind = np.array([0.0, 0.0, SOURCE_PX]) * (1 - share)
    return np.asarray(share * carried + (1 - share) * still - behind, np.float32)


@lru_cache(maxsize=1)
def _grid() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Pixels (C, 2) at the corners of the grid's cells, and its triangles (T, 3)."""
    ticks = np.unique(np.append(np.arange(0, SOURCE_PX, STEP_PX), SOURCE_PX - 1))
    count = len(ticks)
    x, y = np.meshgrid(ticks, ticks)
    corners = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int32)
    at = np.arange(count * count).reshape(count, count)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel()
    triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
    return corners, triangles


def _draw(
    image: NDArray[np.uint8],
    points: NDArray[np.float32],
    triangles: NDArray[np.int32],
    corners: NDArray[np.int32],
) -> NDArray[np.uint8]:
    fragments = rasterise(points, triangles, SOURCE_PX)
    width = np.ptp(points[triangles][:, :, 0], axis=1)
    left_out = (width > MOST_STRETCHED * STEP_PX) | _backward(points, triangles)
    x, y, missing = _source(
        fragments.triangle,
        fragments.weight_a,
        fragments.weight_b,
        triangles,
        corners.astype(np.float32),
        left_out,
    )
    view = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return _fill(view, missing)


@numba.njit(cache=True, nogil=True)
def _source(
    triangle: NDArray[np.int32],
    weight_a: NDArray[np.float32],
    weight_b: NDArray[np.float32],
    triangles: NDArray[np.int32],
    corners: NDArray[np.float32],
    left_out: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Where in the photograph each pixel comes from: x, y, and whether it comes from nowhere."""
    x, y = np.zeros_like(weight_a), np.zeros_like(weight_a)
    missing = np.ones(triangle.shape, np.bool_)
    for i in range(triangle.shape[0]):
        for j in range(triangle.shape[1]):
            t = triangle[i, j]
            if t < 0 or left_out[t]:
                continue
            missing[i, j] = False
            a, b, c = corners[triangles[t, 0]], corners[triangles[t, 1]], corners[triangles[t, 2]]
            wa, wb = weight_a[i, j], weight_b[i, j]
            wc = np.float32(1) - wa - wb
            x[i, j] = wa * a[0] + wb * b[0] + wc * c[0]
            y[i, j] = wa * a[1] + wb * b[1] + wc * c[1]
    return x, y, missing


def _backward(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.bool_]:
    a, b, c = (points[triangles[:, k], :2] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    return np.asarray(area >= 0)


def _fill(view: NDArray[np.uint8], missing: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill missing pixels with the colours around them, from fine to coarse."""
    if not missing.any():
        return view
    known = (~missing).astype(np.float32)
    colours = view.astype(np.float32) * known[..., None]
    levels = [(colours, known)]
    while min(known.shape) > 2:
        size = (max(1, known.shape[1] // 2), max(1, known.shape[0] // 2))
        colours = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
        known = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
        levels.append((colours, known))
    below = levels[-1][0] / np.maximum(levels[-1][1], 1e-6)[..., None]
    for colours, known in reversed(levels[:-1]):
        below = cv2.resize(below, (known.shape[1], known.shape[0]), interpolation=cv2.INTER_LINEAR)
        share = np.minimum(1.0, known)[..., None]
        below = (
            colours + (1 - share) * below
            if known is levels[0][1]
            else np.where(share > 0, colours / np.maximum(known, 1e-6)[..., None], below)
        )
    return np.clip(np.rint(below), 0, 255).astype(np.uint8)
