"""Fitting the head to a face mesh: all points that correspond, robustly, with the prior of drawn people.

The most probable head (maximum a posteriori): the mesh's points with noise of their own in the picture's
plane and in depth, the coefficients of drawn people as a Gaussian prior, outliers weighed down (Huber's
weights), by Gauss-Newton over pose and coefficients together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from trimesh.registration import procrustes

from facepipe.core.errors import SampleError
from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import FittedHead, coefficient_prior
from facepipe.geometry.morphable import Pose

CORRESPONDENCE_FILE = Path(__file__).resolve().parents[2] / "data" / "face_mesh" / "correspondence.npz"

MODES = 70
"""Directions of the prior along which heads are fitted: those that move the points most."""

TURNS = 12

DEPTH_NOISE = 1.5
"""How much less a depth is trusted than a place in the picture."""

NOISE_SHARE = 2.0
"""Noise of a point over its mean distance on drawn faces: 468 errors are not independent."""

HUBER = 1.5
"""Standard deviations from which on a residual counts as an outlier."""

_MIRRORED = np.array([1.0, -1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Where the points of a face mesh lie on the head.

    Attributes:
        corners: int32 (P, 3), vertices of the head.
        weights: float64 (P, 3), barycentric, rows sum to 1.
        noise: float64 (P,), mean distance in the picture on drawn faces, in sizes of the face.
    """

    corners: NDArray[np.int32]
    weights: NDArray[np.float64]
    noise: NDArray[np.float64]

    def on(self, vertices: NDArray[np.floating]) -> NDArray[np.float64]:
        """The points (P, 3) on a head's vertices (V, 3)."""
        return np.einsum("pk,pkc->pc", self.weights, vertices[self.corners])


@dataclass(frozen=True, eq=False)
class MeshFit:
    """A head fitted to a mesh.

    Attributes:
        head: the head, posed in a picture of the given height.
        residual: mean distance in the picture between the mesh's points and the head's, in sizes of the face.
        depth_residual: the same for depths about their median.
        outliers: share of the points that count as outliers.
        unlikelihood: root mean square of the coefficients in standard deviations of drawn people.
    """

    head: FittedHead
    residual: float
    depth_residual: float
    outliers: float
    unlikelihood: float


@dataclass(frozen=True, eq=False)
class _Subspace:
    mean: NDArray[np.float64]
    modes: NDArray[np.float64]
    at_rest: NDArray[np.float64]
    rows: NDArray[np.float64]


@lru_cache(maxsize=1)
def load_correspondence(path: Path = CORRESPONDENCE_FILE) -> Correspondence:
    """The correspondence that ships."""
    with np.load(path) as stored:
        return Correspondence(
            stored["corners"].astype(np.int32),
            stored["weights"].astype(np.float64),
            stored["noise"].astype(np.float64),
        )


@lru_cache(maxsize=1)
def _subspace() -> _Subspace:
    model, match = load_head().model, load_correspondence()
    mean, covariance = coefficient_prior()
    basis = np.concatenate([model.shape_basis, model.expression_basis], axis=1).astype(np.float64)
    moved = np.einsum("pk,pkcm->pcm", match.weights, basis.reshape(-1, 3, basis.shape[1])[match.corners])
    root = np.linalg.cholesky(covariance)
    _, _, directions = np.linalg.svd(moved.reshape(-1, moved.shape[2]) @ root, full_matrices=False)
    modes = root @ directions[:MODES].T
    at_rest = match.on(model.mean.astype(np.float64)) + moved @ mean
    return _Subspace(mean, modes, at_rest, moved @ modes)


def fit_mesh(points: NDArray[np.floating], image_px: int) -> MeshFit:
    """Fit the head to the points of a face mesh.

    Args:
        points: (468, 3), continuous pixels of a square picture, z toward the camera.
        image_px: side of the picture.

    Raises:
        SampleError: fit-failed.
    """
    space, match = _subspace(), load_correspondence()
    wanted = np.asarray(points, np.float64) * _MIRRORED
    size = float(np.sqrt(np.prod(np.ptp(wanted[:, :2], axis=0))))
    noise = (size * NOISE_SHARE * match.noise)[:, None] * (1.0, 1.0, DEPTH_NOISE)
    y = np.zeros(space.rows.shape[2])
    start, _, _ = procrustes(space.at_rest, wanted, reflection=False)
    scale = float(np.cbrt(np.linalg.det(start[:3, :3])))
    rotation, shift = start[:3, :3] / scale, start[:3, 3]
    count = len(y)
    for _ in range(TURNS):
        turned = (space.at_rest + space.rows @ y) @ rotation.T * scale
        residual = (turned + shift - wanted) / noise
        length = np.linalg.norm(residual, axis=1)
        trust = np.sqrt(np.minimum(1.0, HUBER / np.maximum(length, 1e-9)))[:, None] / noise
        jacobian = np.empty((len(wanted), 3, count + 7))
        jacobian[:, :, :count] = scale * np.einsum("ij,pjm->pim", rotation, space.rows)
        jacobian[:, :, count:] = 0.0
        for axis in range(3):
            unit = np.zeros(3)
            unit[axis] = 1.0
            jacobian[:, :, count + axis] = np.cross(unit, turned)
            jacobian[:, axis, count + 3 + axis] = 1.0
        jacobian[:, :, count + 6] = turned
        jacobian *= trust[:, :, None]
        flat = jacobian.reshape(-1, count + 7)
        normal = flat.T @ flat
        pull = flat.T @ ((turned + shift - wanted) * trust).ravel()
        normal[np.arange(count), np.arange(count)] += 1.0
        pull[:count] += y
        step = -np.linalg.solve(normal, pull)
        y = y + step[:count]
        rotation = Rotation.from_rotvec(step[count : count + 3]).as_matrix() @ rotation
        shift = shift + step[count + 3 : count + 6]
        scale *= float(np.exp(np.clip(step[count + 6], -0.5, 0.5)))
        if np.abs(step[:count]).max() < 0.02 and np.abs(step[count : count + 3]).max() < 1e-3:
            break
    if not (np.isfinite(y).all() and np.isfinite(scale) and scale > 0):
        raise SampleError("fit-failed", "the head cannot be fitted to the face mesh")
    off = (space.at_rest + space.rows @ y) @ rotation.T * scale + shift - wanted
    depth = off[:, 2] - np.median(off[:, 2])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = scale * rotation, shift
    coefficients = space.mean + space.modes @ y
    model = load_head().model
    shape, expression = np.split(coefficients.astype(np.float32), [model.shape_basis.shape[1]])
    head = FittedHead(shape, expression, model.mesh(shape, expression), Pose.from_matrix(matrix, image_px))
    return MeshFit(
        head,
        float(np.linalg.norm(off[:, :2], axis=1).mean() / size),
        float(np.abs(depth).mean() / size),
        float((length > 2 * HUBER).mean()),
        float(np.sqrt(np.mean(y**2))),
    )
