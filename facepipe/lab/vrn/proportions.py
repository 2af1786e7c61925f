"""Reshape faces to proportions beyond those of the head model's population.

The head follows MakeHuman's targets. Brought to the height from menton to sellion that a survey found, its
adults have noses that stand out 17 mm where 20 were measured, and 40 to 45 mm between the inner corners of
the eyes where others found 31 to 39 (`python docs/proportions.py`). As depth is what a picture shows least, a
network that knows nothing else flattens noses. So a share of the faces for training is reshaped: moved
towards what was measured, and spread about it wider than any population is.

Sources: Zhuang and Bradtmiller, 'Head-and-face anthropometric survey of U.S. respirator users', Journal of
Occupational and Environmental Hygiene 2, 2005 (heights, noses, lips, pupils); 'Intercanthal distance' of 67
studies, Plastic and Reconstructive Surgery Global Open, 2022, PMC9029890 (31 to 39 mm by ethnicity); Farkas,
Katic and Forrest, 'International anthropometric study of facial morphology in various ethnic groups/races',
Journal of Craniofacial Surgery 16, 2005 (outer corners of the eyes).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.head import Head
from facepipe.lab.faces.factory import Face
from facepipe.lab.faces.framing import draw_pose
from facepipe.lab.faces.ops import NumpyOps, smoothstep

RESHAPED_SHARE = 0.65
"""How many faces are reshaped; the others keep the proportions of the head."""

WIDE_POSE_SHARE = 0.25
"""How many of them may be pitched and rolled by anything up to 45 degrees."""

# Places on the mean head, mm.
_BROW_Y, _SELLION_Y, _TIP_Y, _SUBNASALE_Y, _LIP_Y, _CHIN_Y = 34.0, 24.8, -9.5, -20.0, -49.0, -79.0
_EYE_X, _EYE_Y, _EYE_CORNER_X = 29.0, 27.4, 41.0
_MOUTH_CORNER_X, _MOUTH_Y = 22.0, -38.5
_BEHIND_Z, _BEFORE_Z = -75.0, -25.0
"""Where the changes begin and where they have their full size: ears and skull stay."""

_BUMPS = 8

Points = NDArray[np.float32]


def reshape(face: Face, head: Head, rng: np.random.Generator) -> Face:
    """Reshape a share of faces."""
    return face if rng.random() >= RESHAPED_SHARE else reshaped(face, head, rng)


def reshaped(face: Face, head: Head, rng: np.random.Generator) -> Face:
    """The same face in other proportions, and in a pose drawn anew: framing and z = 0 follow from the mesh.

    Its shape and expression coefficients no longer describe its mesh.
    """
    vertices = np.asarray(face.vertices_mm + displacements(head.model.mean, rng), np.float32)
    pose = draw_pose(rng, head.model, vertices, WIDE_POSE_SHARE)
    return replace(face, vertices_mm=vertices, pose=pose)


def displacements(place: Points, rng: np.random.Generator) -> Points:
    """Draw how far each point of a face moves.

    Args:
        place: (V, 3), where the points lie on the mean head, mm.

    Returns:
        float32 (V, 3), mm.
    """
    x, y, z = place.T
    moved = np.zeros_like(place)
    moved[:, 2] += _nose(x, y, rng) + _curvature(x, rng) + _mouth(x, y, rng) + _chin(y, rng)
    moved[:, 1] += _heights(y, rng)
    moved += _eyes(place, rng)
    for _ in range(_BUMPS):
        moved += _bump(x, y, rng)
    share = smoothstep(NumpyOps, z, _BEHIND_Z, _BEFORE_Z)
    return np.asarray(moved * share[:, None], np.float32)


def _nose(x: Points, y: Points, rng: np.random.Generator) -> Points:
    """How far the nose comes forward, from its root to its tip."""
    root, tip = rng.normal(2.0, 2.0), rng.normal(3.5, 2.5)
    heights = _SUBNASALE_Y, _TIP_Y, _SELLION_Y, _BROW_Y + 4
    forward = np.interp(y, heights, (0.0, tip, root, 0.0))
    width = np.interp(y, (_TIP_Y, _SELLION_Y), (10.0, 7.0))
    return np.asarray(forward * np.exp(-((x / width) ** 2) / 2), np.float32)


def _curvature(x: Points, rng: np.random.Generator) -> Points:
    """How far the outer corners of the eyes, and all that is as far outside, lie further back."""
    return np.asarray(-rng.normal(1.5, 2.5) * np.minimum((x / _EYE_CORNER_X) ** 2, 2.0), np.float32)


def _mouth(x: Points, y: Points, rng: np.random.Generator) -> Points:
    """How far the corners of the mouth lie further back, as the row of teeth bends."""
    beside = np.exp(-(((np.abs(x) - _MOUTH_CORNER_X) / 8) ** 2 + ((y - _MOUTH_Y) / 10) ** 2) / 2)
    return np.asarray(-rng.normal(1.5, 1.5) * beside, np.float32)


def _chin(y: Points, rng: np.random.Generator) -> Points:
    """How far the chin comes forward."""
    return np.asarray(rng.normal(2.0, 4.0) * smoothstep(NumpyOps, -y, -_LIP_Y - 8, -_CHIN_Y), np.float32)


def _heights(y: Points, rng: np.random.Generator) -> Points:
    """What lies below goes down as nose, lips and chin grow longer."""
    parts = ((_SELLION_Y, _SUBNASALE_Y, 2.5), (_SUBNASALE_Y, _LIP_Y, 1.5), (_LIP_Y, _CHIN_Y, 2.5))
    total = np.zeros_like(y)
    for above, below, spread in parts:
        total -= np.float32(rng.normal(0, spread)) * np.clip((above - y) / (above - below), 0, 1)
    return total


def _eyes(place: Points, rng: np.random.Generator) -> Points:
    """How much larger the eyes are, and how much nearer to each other."""
    larger, inward = rng.normal(0.19, 0.08), rng.normal(0.75, 1.5)
    moved = np.zeros_like(place)
    for side in (-1, 1):
        off = place - np.array([side * _EYE_X, _EYE_Y, 0.0], np.float32)
        near = np.exp(-((off[:, 0] / 17) ** 2 + (off[:, 1] / 14) ** 2) / 2)[:, None]
        moved += (off * (larger, larger, 0.0) - np.array([side * inward, 0, 0])) * near
    return np.asarray(moved, np.float32)


def _bump(x: Points, y: Points, rng: np.random.Generator) -> Points:
    """A smooth change anywhere, the same on both sides."""
    beside, height, size = rng.uniform(0, 55), rng.uniform(-85, 65), rng.uniform(10, 28)
    sideways, up, forward = rng.normal(0, (1.0, 1.0, 1.5))
    moved = np.zeros((len(x), 3), np.float32)
    for side in (-1, 1):
        near = np.exp(-((x - side * beside) ** 2 + (y - height) ** 2) / (2 * size**2))
        moved += near[:, None] * np.array([side * sideways, up, forward], np.float32)
    return moved
