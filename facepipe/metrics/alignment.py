"""Rigid alignment of points to a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.metrics.nearest import closest_one, walk_one
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

LEAST_PIVOT = 1e-14
"""Of the system's diagonal, that a pivot must be to say anything."""

SMALLEST_ANGLE = 1e-8
"""Radians below which sines are their angles."""


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
    start, around = surface.around
    rotation, shift = _descend(moved, near, gaps, limit, start, around, surface.vertices, surface.triangles)
    return Rigid(rotation @ motion.rotation, rotation @ motion.shift + shift)


@numba.njit(cache=True, nogil=True)
def _descend(
    moved: NDArray[np.float64],
    near: NDArray[np.int32],
    gaps: NDArray[np.float64],
    limit: float,
    start: NDArray[np.int32],
    around: NDArray[np.int32],
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take damped steps until one moves no point far; the rotation and shift of all of them."""
    rotation, shift = np.eye(3), np.zeros(3)
    centre = _mean(moved)
    matrix, vector, cost = _system(moved, gaps, centre, limit)
    damping = FIRST_DAMPING
    for _ in range(MAX_STEPS):
        solution = _solve(matrix, vector, damping)
        turn = _rotation(solution[:3])
        move = centre + solution[3:] - _turned(turn, centre)
        tried, gaps = np.empty_like(moved), np.empty_like(moved)
        largest_px = 0.0
        for i in range(len(moved)):
            for d in range(3):
                tried[i, d] = (
                    turn[d, 0] * moved[i, 0] + turn[d, 1] * moved[i, 1] + turn[d, 2] * moved[i, 2] + move[d]
                )
                largest_px = max(largest_px, abs(tried[i, d] - moved[i, d]))
            x, y, z = tried[i, 0], tried[i, 1], tried[i, 2]
            near[i] = walk_one(x, y, z, near[i], start, around, vertices, triangles)
            _, _, _, _, px, py, pz = closest_one(x, y, z, near[i], start, around, vertices, triangles)
            gaps[i, 0], gaps[i, 1], gaps[i, 2] = px - x, py - y, pz - z
        tried_centre = _mean(tried)
        tried_matrix, tried_vector, tried_cost = _system(tried, gaps, tried_centre, limit)
        if tried_cost < cost:
            rotation, shift = turn @ rotation, _turned(turn, shift) + move
            moved, centre = tried, tried_centre
            matrix, vector, cost = tried_matrix, tried_vector, tried_cost
            damping /= 10
        else:
            damping *= 10
        if largest_px < CONVERGED_PX:
            break
    return rotation, shift


@numba.njit(cache=True, nogil=True)
def _mean(points: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(3)
    for i in range(len(points)):
        for d in range(3):
            total[d] += points[i, d]
    return total / len(points)


@numba.njit(cache=True, nogil=True)
def _turned(turn: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros(3)
    for i in range(3):
        for j in range(3):
            result[i] += turn[i, j] * point[j]
    return result


@numba.njit(cache=True, nogil=True)
def _rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix that turns about a vector by its length in radians (Rodrigues' formula)."""
    x, y, z = vector
    angle = math.sqrt(x * x + y * y + z * z)
    if angle < SMALLEST_ANGLE:
        first, second = 1.0, 0.5
    else:
        first, second = math.sin(angle) / angle, 2 * (math.sin(angle / 2) / angle) ** 2
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + first * cross + second * (cross @ cross)


@numba.njit(cache=True, nogil=True)
def _solve(matrix: NDArray[np.float64], vector: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """Solve a positive semidefinite system, its diagonal enlarged by a share of it, by Cholesky's method.

    What the system says nothing about, such as the turning of a sphere, stays 0.
    """
    n = len(vector)
    lower = np.zeros((n, n))
    found = np.zeros(n)
    for j in range(n):
        pivot = matrix[j, j] * (1 + damping)
        for k in range(j):
            pivot -= lower[j, k] ** 2
        if pivot <= LEAST_PIVOT * matrix[j, j]:
            continue
        lower[j, j] = math.sqrt(pivot)
        for i in range(j + 1, n):
            value = matrix[i, j]
            for k in range(j):
                value -= lower[i, k] * lower[j, k]
            lower[i, j] = value / lower[j, j]
        found[j] = vector[j]
        for k in range(j):
            found[j] -= lower[j, k] * found[k]
        found[j] /= lower[j, j]
    for j in range(n - 1, -1, -1):
        if lower[j, j] == 0:
            continue
        for i in range(j + 1, n):
            found[j] -= lower[i, j] * found[i]
        found[j] /= lower[j, j]
    return found


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
