"""Rigid alignment of points to a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from facepipe.metrics.surface import Surface

LEVELS = (500, 2000)
"""How many of the points are used, coarse to fine."""

MAX_STEPS = 20
"""Most steps at a level."""

CONVERGED_PX = 0.05
"""A level is done when a step moves no point farther than this: a thousandth of the outer interocular.
Going on to 1e-4 px changes NME by less than 1e-5 on average and takes half as long again."""

OUTLIER_MEDIANS = 3.0
"""Pairs farther apart than so many median distances are left out of a step."""


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
    """The rigid motion that brings points nearest to a surface, by point-to-plane ICP.

    Each step pairs the points with their nearest points of the surface and solves the linearised least
    squares of the distances along the surface's normals (Chen and Medioni 1992; Low 2004).

    Args:
        points: (N, 3), N at least 6, already near the surface.
        surface: in the same frame and unit.
    """
    motion = Rigid(np.eye(3), np.zeros(3))
    centre = points.mean(axis=0)
    for count in LEVELS:
        few = points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(int)]
        for _ in range(MAX_STEPS):
            step = _step(motion.apply(few), surface, motion.apply(centre[None])[0])
            motion = Rigid(step.rotation @ motion.rotation, step.rotation @ motion.shift + step.shift)
            if np.abs(step.apply(few) - few).max() < CONVERGED_PX:
                break
    return motion


def _step(points: NDArray[np.float64], surface: Surface, centre: NDArray[np.float64]) -> Rigid:
    found = surface.closest(points)
    gaps = found.points - points
    distances = np.linalg.norm(gaps, axis=1)
    kept = distances <= OUTLIER_MEDIANS * np.median(distances)
    normals = surface.normals_at(found)[kept]
    arms = points[kept] - centre
    rows = np.hstack([np.cross(arms, normals), normals])
    solution = np.linalg.lstsq(rows, np.einsum("nd,nd->n", gaps[kept], normals), rcond=None)[0]
    rotation = Rotation.from_rotvec(solution[:3]).as_matrix()
    return Rigid(rotation, centre + solution[3:] - rotation @ centre)
