"""Pack meshes so small that dozens of them fit into the page.

Vertices are stored in the order in which triangles first use them, as differences on a grid of 1/32
reference pixel; an index is stored as its distance below the highest index so far, so that most are tiny
(the 'high-water mark' coding of glTF compression tools). Then deflate, then base64. `viewer.js` undoes it.
"""

from __future__ import annotations

import base64
import zlib
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.geometry.volume import SurfaceMesh, coarsen, display_surface

STEPS_PER_PX = 32
Z_OFFSET_PX = NETWORK_PX / 2
"""Added to z, so that all coordinates are positive."""

VOXEL_PX = 2.0
"""Side of the averaged voxels that a page's meshes are made of, reference pixels."""


class PackedMesh(TypedDict):
    """A mesh as it lies in the page's JSON: numbers of vertices and triangles, and their bytes."""

    vertices: int
    triangles: int
    data: str


def light_mesh(volume: NDArray[np.uint8], geometry: VolumeGeometry) -> SurfaceMesh:
    """The surface of a volume (D, H, W) from voxels of about 2 px: a tenth of the triangles.

    Raises:
        SampleError: empty-volume.
    """
    return display_surface(*coarsen(volume, geometry, VOXEL_PX))


def pack(mesh: SurfaceMesh) -> PackedMesh:
    """Pack a mesh whose coordinates lie within the grid that 16 bits can count.

    Raises:
        ValueError: it has more vertices than 16 bits can number, or lies outside the grid.
    """
    triangles = mesh.triangles.ravel()
    used, first_use, inverse = np.unique(triangles, return_index=True, return_inverse=True)
    order = np.argsort(first_use)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    indices = rank[inverse]
    grid = np.rint((mesh.vertices[used[order]] + [0, 0, Z_OFFSET_PX]) * STEPS_PER_PX).astype(np.int64)
    if len(grid) > 65535 or (len(grid) and (grid.min() < 0 or grid.max() > 32767)):
        raise ValueError(f"{len(grid)} vertices in {grid.min()}..{grid.max()} do not fit 16 bits")
    deltas = np.diff(grid, axis=0, prepend=0).T.astype("<i2")
    # What lies below the mark includes the index itself: 0 means 'the next new vertex'.
    mark = np.maximum.accumulate(np.concatenate([[0], indices + 1]))[:-1]
    codes = (mark - indices).astype("<u2")
    raw = b"".join(_planes(values) for values in (*deltas, codes))
    deflate = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    data = base64.b64encode(deflate.compress(raw) + deflate.flush()).decode()
    return {"vertices": len(grid), "triangles": len(mesh.triangles), "data": data}


def _planes(values: NDArray[np.integer]) -> bytes:
    """Low bytes, then high bytes: the high ones are nearly all alike and cost nothing."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 2).T.tobytes()
