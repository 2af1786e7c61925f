"""The face region of a Basel-type model, for volumes and metrics.

The Basel mesh has ears and a piece of neck. Networks that regress volumes from faces fill the face: from
the upper forehead to the chin, in front of the ears. Three cuts through the mean's own landmarks leave
that part, whatever the model's unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.morphable import MorphableModel

FOREHEAD = 0.6
"""Height of the part above the brows, in heights of brows above the chin."""

CHIN_MARGIN = 0.05
"""How far below the plane of the jaw the part reaches, in outer eye corner distances."""

SMALLEST_SHARE = 0.1
"""A part with fewer of the vertices means that the landmarks are not where a face has them."""

_OUTER_EYES = (36, 45)
_EAR_SIDES = (0, 16)
_JAW_ANGLES = (4, 12)
_CHIN = 8
_BROWS = slice(17, 27)


def face_part(model: MorphableModel) -> tuple[MorphableModel, NDArray[np.intp]]:
    """Restrict a model to its face part; landmarks are kept wherever they lie.

    Args:
        model: of which `surface` is the whole skin.

    Returns:
        A model with fewer vertices. Its surface and solid are the triangles of the part, open behind, and
        its region is the vertices of these; with the number that each vertex has in the whole model,
        ascending. The whole model where its mean is no face (see `SMALLEST_SHARE`).
    """
    inside = _inside(model.mean.astype(np.float64), model.landmarks)
    triangles = model.surface[inside[model.surface].all(axis=1)]
    used = np.zeros(len(model.mean), bool)
    used[triangles] = True
    if used.mean() < SMALLEST_SHARE:
        return model, np.arange(len(model.mean))
    region = used.copy()
    used[model.landmarks] = True
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    rows = np.repeat(used, 3)
    skin = renumbered[triangles]
    part = MorphableModel(
        name=model.name,
        mean=model.mean[used],
        shape_basis=model.shape_basis[rows],
        expression_basis=model.expression_basis[rows],
        surface=skin,
        solid=skin,
        region=renumbered[region],
        landmarks=renumbered[model.landmarks],
    )
    return part, np.flatnonzero(used)


def _inside(mean: NDArray[np.float64], landmarks: NDArray[np.int32]) -> NDArray[np.bool_]:
    points = mean[landmarks]
    eyes_apart = float(np.linalg.norm(points[_OUTER_EYES[0]] - points[_OUTER_EYES[1]]))
    ears, jaw = points[list(_EAR_SIDES)], points[list(_JAW_ANGLES)].mean(axis=0)
    chin, brows = points[_CHIN], points[_BROWS].mean(axis=0)
    top = brows[1] + FOREHEAD * (brows[1] - chin[1])
    in_front = _above(mean, (ears[0], ears[1], jaw), points[30])
    over_jaw = _above(mean, (*points[list(_JAW_ANGLES)], chin), points[27])
    return (mean[:, 1] <= top) & (in_front >= 0) & (over_jaw >= -CHIN_MARGIN * eyes_apart)


def _above(
    vertices: NDArray[np.float64], corners: tuple[NDArray[np.float64], ...], side: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Signed distance from the plane through three points, positive where `side` lies."""
    a, b, c = corners
    normal = np.cross(b - a, c - a)
    length = float(np.linalg.norm(normal))
    if length == 0:
        return np.full(len(vertices), -np.inf)
    normal = normal / length * np.sign(normal @ (side - a) or 1.0)
    return np.asarray((vertices - a) @ normal)
