"""Rigid alignment of points to a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from facepipe.metrics.surface import Surface

LEVELS = (500, 2000)
"""How many of the points are used, coarse to fine."""

MAX_STEPS = 30
"""Most steps at a level, refused ones included."""

CONVERGED_PX = 0.05
"""A level is done when a step moves no point farther than this."""

OUTLIER_MEDIANS = 3.0
"""Points farther from the surface than so many median distances, as a level begins, do not pull."""

FIRST_DAMPING = 1e-3
"""Of the first step of a level (Levenberg and Marquardt), relative to the system's diagonal."""


def described() -> dict[str, Any]:
    """How `nme_icp` is aligned, as plain JSON values for run.json; the tolerance is in reference pixels."""
    return {
        "method": "damped point-to-plane ICP",
        "points": list(LEVELS),
        "steps": MAX_STEPS,
        "tolerance": CONVERGED_PX,
    }


@dataclass(frozen=True)
class Rigid:
    """x -> rotation x + shift.

    Attributes:
        rotation: float64 (3, 3).
        shift: float64 (3,).
    """

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]

    def apply(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Move points (N, 3)."""
        return np.asarray(points @ self.rotation.T + self.shift)


def align(points: NDArray[np.floating], surface: Surface) -> Rigid:
    """The rigid motion that brings points nearest to a surface, by damped point-to-plane ICP.

    Minimised is the mean of min(distance, limit)^2. Each step pairs the points with their nearest points
    of the surface and solves the linearised least squares of the distances to the planes there (Chen and
    Medioni 1992; Low 2004). A step that makes the mean larger is not taken but damped (Fitzgibbon 2003):
    undamped ones turn some faces to and fro for ever, and NME is then that of the step which comes last.

    Args:
        points: (N, 3), N at least 6, already near the surface.
        surface: in the same frame and unit.
    """
    motion = Rigid(np.eye(3), np.zeros(3))
    for count in LEVELS:
        few = points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)]
        motion = _refine(np.asarray(few, np.float64), surface, motion)
    return motion


def _refine(points: NDArray[np.float64], surface: Surface, motion: Rigid) -> Rigid:
    moved = motion.apply(points)
    near = surface.nearest_vertices(moved)
    gaps = surface.closest_around(moved, near).points - moved
    limit = OUTLIER_MEDIANS * float(np.median(np.linalg.norm(gaps, axis=1)))
    centre = moved.mean(axis=0)
    matrix, vector, cost = _system(moved, gaps, centre, limit)
    damping = FIRST_DAMPING
    for _ in range(MAX_STEPS):
        step = _solve(matrix + damping * np.diag(np.diag(matrix)), vector, centre)
        tried = step.apply(moved)
        largest_px = np.abs(tried - moved).max()
        near = surface.walk(tried, near)
        gaps = surface.closest_around(tried, near).points - tried
        tried_centre = tried.mean(axis=0)
        system = _system(tried, gaps, tried_centre, limit)
        if system[2] < cost:
            motion = Rigid(step.rotation @ motion.rotation, step.rotation @ motion.shift + step.shift)
            moved, centre, (matrix, vector, cost) = tried, tried_centre, system
            damping /= 10
        else:
            damping *= 10
        if largest_px < CONVERGED_PX:
            break
    return motion


def _solve(matrix: NDArray[np.float64], vector: NDArray[np.float64], centre: NDArray[np.float64]) -> Rigid:
    solution = np.linalg.lstsq(matrix, vector, rcond=None)[0]
    rotation = Rotation.from_rotvec(solution[:3]).as_matrix()
    return Rigid(rotation, centre + solution[3:] - rotation @ centre)


@numba.njit(cache=True, nogil=True)
def _system(
    points: NDArray[np.float64], gaps: NDArray[np.float64], centre: NDArray[np.float64], limit: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The 6 x 6 system of the least squares of (arm x n, n) . (rotation, shift) = distance, and the cost.

    n is the direction from a point to its nearest point: across the plane that touches the surface there.
    """
    matrix, vector, row = np.zeros((6, 6)), np.zeros(6), np.empty(6)
    cost = 0.0
    for i in range(len(points)):
        distance = math.sqrt(gaps[i, 0] ** 2 + gaps[i, 1] ** 2 + gaps[i, 2] ** 2)
        cost += min(distance, limit) ** 2
        if distance == 0 or distance > limit:
            continue
        for d in range(3):
            row[3 + d] = gaps[i, d] / distance
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        row[0] = y * row[5] - z * row[4]
        row[1] = z * row[3] - x * row[5]
        row[2] = x * row[4] - y * row[3]
        for j in range(6):
            vector[j] += row[j] * distance
            for k in range(6):
                matrix[j, k] += row[j] * row[k]
    return matrix, vector, cost / len(points)
