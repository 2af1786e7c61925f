"""Fit the head model to the 3D landmarks of a photograph.

Shape and expression are the most probable ones (maximum a posteriori): the landmarks with Gaussian noise, and
the coefficients of drawn people as their Gaussian prior, in turns with the similarity that lays the head over
the landmarks (Procrustes). See Blanz and Vetter, 'Face recognition based on fitting a 3D morphable model',
PAMI 2003, for the same in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from trimesh.registration import procrustes

from facepipe.core.conventions import NETWORK_PX
from facepipe.geometry.expressions import draw_expression
from facepipe.geometry.head import load_head
from facepipe.geometry.head_attributes import draw_attributes
from facepipe.geometry.morphable import SOURCE_PX, Pose, posed_px

NOISE_PX = 0.5
"""Standard deviation of a landmark's coordinates, reference pixels."""

TURNS = 30
PEOPLE = 500
"""Drawn people whose coefficients make the prior."""

_LEAST_VARIANCE = 1e-6
_MIRRORED = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class FittedHead:
    """The head that goes with landmarks.

    Attributes:
        shape, expression: float32 (K,) and (E,), coefficients of the head.
        vertices_mm: float32 (V, 3), the mesh that they give.
        pose: in a picture of 450 px.
    """

    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    vertices_mm: NDArray[np.float32]
    pose: Pose

    @property
    def vertices_px(self) -> NDArray[np.float32]:
        """The posed mesh, (V, 3), reference pixels."""
        return posed_px(self.vertices_mm, self.pose, NETWORK_PX)


def fit_head(landmarks: NDArray[np.floating]) -> FittedHead:
    """Fit the head to landmarks.

    Args:
        landmarks: (68, 3), iBUG order, reference pixels, z toward the camera.

    Raises:
        SampleError: they lead to coefficients that are no numbers.
    """
    model = load_head().model
    mean, covariance = coefficient_prior()
    precision = np.linalg.inv(covariance)
    bases = [basis.reshape(-1, 3, basis.shape[1]) for basis in (model.shape_basis, model.expression_basis)]
    rows = np.concatenate([basis[model.landmarks] for basis in bases], axis=2, dtype=np.float64)
    at_rest = model.mean[model.landmarks].astype(np.float64)
    # Images have y down, heads have y up; a similarity does not mirror.
    points = np.asarray(landmarks, np.float64) * _MIRRORED
    flat = rows.reshape(-1, rows.shape[2])
    normal = flat.T @ flat
    coefficients = mean
    for _ in range(TURNS):
        to_head, _, _ = procrustes(points, at_rest + rows @ coefficients, reflection=False)
        scale = np.cbrt(np.linalg.det(to_head[:3, :3]))
        wanted = points @ to_head[:3, :3].T + to_head[:3, 3] - at_rest
        weight = 1 / (NOISE_PX * scale) ** 2
        coefficients = np.linalg.solve(
            weight * normal + precision, weight * flat.T @ wanted.ravel() + precision @ mean
        )
    to_head, _, _ = procrustes(points, at_rest + rows @ coefficients, reflection=False)
    to_picture = np.diag([*[SOURCE_PX / NETWORK_PX] * 3, 1.0]) @ np.linalg.inv(to_head)
    count = model.shape_basis.shape[1]
    shape, expression = np.split(coefficients.astype(np.float32), [count])
    vertices = model.mesh(shape, expression)
    return FittedHead(shape, expression, vertices, Pose.from_matrix(to_picture, SOURCE_PX))


@lru_cache(maxsize=1)
def coefficient_prior() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (C,) and covariance (C, C) of drawn people's coefficients, shape before expression."""
    head = load_head()
    rng = np.random.default_rng(0)
    units = sorted(head.unit_to_expression)
    people = [
        np.concatenate(
            [head.draw_shape(draw_attributes(rng), rng), head.expression(draw_expression(rng, units))]
        )
        for _ in range(PEOPLE)
    ]
    covariance = np.cov(np.array(people, np.float64).T)
    spread = covariance + _LEAST_VARIANCE * np.eye(len(covariance))
    return np.asarray(np.mean(people, axis=0), np.float64), np.asarray(spread, np.float64)
