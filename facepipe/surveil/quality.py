"""Measure how sharp the surface of a volume is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.volume import SurfaceMesh

LOWEST, HIGHEST = 0.1, 0.9
"""The occupancies between which a voxel belongs to the layer around the surface."""


def surface_area_px2(mesh: SurfaceMesh) -> float:
    """Area of a mesh, square reference pixels."""
    a, b, c = (mesh.vertices[mesh.triangles[:, i]].astype(np.float64) for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def surface_thickness_px(volume: NDArray[np.uint8], geometry: VolumeGeometry, mesh: SurfaceMesh) -> float:
    """Mean thickness of the layer in which a volume cannot decide, reference pixels.

    The volume of the voxels with 0.1 <= p <= 0.9, divided by the area of the surface between them. 0 is a
    surface as sharp as its grid; a network that is unsure of a face where it is blurred, hidden or turned
    away smears its surface over several pixels. It says nothing of a face that is wrong for certain.

    Args:
        volume: uint8 (D, H, W).
        geometry: where its voxels lie.
        mesh: the surface of the volume.
    """
    undecided = np.count_nonzero((volume >= 255 * LOWEST) & (volume <= 255 * HIGHEST))
    voxel_px3 = float(np.prod(geometry.spacing)) * geometry.reference_px**3
    return undecided * voxel_px3 / surface_area_px2(mesh)
