"""Meshes of faces, open or closed, as volumes that are comparable with those of volumetric regressors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.voxelise import voxelise


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """A surface of a face.

    Attributes:
        vertices: float (V, 3), reference pixels: x right, y down, z toward the camera from any origin.
        triangles: int (T, 3), oriented alike within each connected part.
    """

    vertices: NDArray[np.floating]
    triangles: NDArray[np.integer]


def mesh_volume(mesh: FaceMesh | None, geometry: VolumeGeometry) -> NDArray[np.uint8]:
    """Fill a mesh in a geometry: uint8 (D, H, W), 0 and 255; an empty volume for None.

    A mesh knows depth only up to its origin: the middle of its depth range comes to z = 0, as the middle of
    the truth's solid does. Where it is open, it is closed along the viewing axis by the plane of its
    smallest z, see `facepipe.geometry.voxelise.voxelise`.

    Raises:
        SampleError: the vertices are not finite or lie absurdly far outside, or an index has no vertex.
    """
    if mesh is None or not len(mesh.triangles):
        return np.zeros(geometry.shape, np.uint8)
    vertices = np.array(mesh.vertices, np.float64)
    used = vertices[np.unique(mesh.triangles), 2]
    vertices[:, 2] -= (used.min() + used.max()) / 2
    return voxelise(vertices, np.asarray(mesh.triangles), geometry)
