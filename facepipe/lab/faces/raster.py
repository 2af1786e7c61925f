"""The z-buffer on the CPU: which triangle each pixel sees.

`facepipe.lab.faces.raster_torch` does the same for batches on a GPU; both test pixel centres in float32 with
the same expressions, so that they agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

EDGE_TOLERANCE = 1e-6
"""Barycentric slack with which a pixel on an edge counts for both neighbours, so that no seam shows."""

NOTHING = -1
"""Triangle id of a pixel that sees no triangle."""


@dataclass(frozen=True, eq=False)
class Fragments:
    """What the pixels of a square picture see.

    Attributes:
        triangle: int32 (S, S), or `NOTHING`.
        weight_a, weight_b: float32 (S, S), barycentric weights of the triangle's first two corners.
        depth: float32 (S, S), z of the surface, -inf where nothing is.
    """

    triangle: NDArray[np.int32]
    weight_a: NDArray[np.float32]
    weight_b: NDArray[np.float32]
    depth: NDArray[np.float32]


def rasterise(points: NDArray[np.float32], triangles: NDArray[np.int32], size: int) -> Fragments:
    """Find the nearest triangle at every pixel centre.

    Args:
        points: float32 (V, 3), continuous pixels of the picture (x right, y down, larger z is nearer).
        triangles: int32 (T, 3), drawn whichever way they face.
        size: side of the picture.
    """
    fragments = Fragments(
        np.full((size, size), NOTHING, np.int32),
        np.zeros((size, size), np.float32),
        np.zeros((size, size), np.float32),
        np.full((size, size), -np.inf, np.float32),
    )
    _draw(
        np.ascontiguousarray(points, np.float32),
        np.ascontiguousarray(triangles, np.int32),
        fragments.triangle,
        fragments.weight_a,
        fragments.weight_b,
        fragments.depth,
    )
    return fragments


@numba.njit(cache=True, nogil=True)
def _draw(
    points: NDArray[np.float32],
    triangles: NDArray[np.int32],
    triangle: NDArray[np.int32],
    weight_a: NDArray[np.float32],
    weight_b: NDArray[np.float32],
    depth: NDArray[np.float32],
) -> None:
    size = triangle.shape[0]
    half, one, slack = np.float32(0.5), np.float32(1), np.float32(-EDGE_TOLERANCE)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
        bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
        cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < np.float32(1e-8):
            continue
        x0 = max(0, math.ceil(min(ax, bx, cx) - half))
        x1 = min(size - 1, math.floor(max(ax, bx, cx) - half))
        y0 = max(0, math.ceil(min(ay, by, cy) - half))
        y1 = min(size - 1, math.floor(max(ay, by, cy) - half))
        for y in range(y0, y1 + 1):
            py = np.float32(y) + half
            for x in range(x0, x1 + 1):
                px = np.float32(x) + half
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                wc = one - wa - wb
                if wa >= slack and wb >= slack and wc >= slack:
                    z = wa * az + wb * bz + wc * cz
                    if z > depth[y, x]:
                        depth[y, x] = z
                        triangle[y, x] = t
                        weight_a[y, x] = wa
                        weight_b[y, x] = wb


@numba.njit(cache=True, nogil=True)
def vertex_normals(points: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Area-weighted unit normals (V, 3), outward for triangles that are counter-clockwise in (x, -y, z).

    Args:
        points: float32 (V, 3), picture coordinates; the normals are in the same frame (y down).
        triangles: int32 (T, 3).
    """
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uz * vy - uy * vz, ux * vz - uz * vx, uy * vx - ux * vy
        for k in (a, b, c):
            normals[k, 0] += nx
            normals[k, 1] += ny
            normals[k, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2)
        if length > 0:
            normals[i] /= np.float32(length)
    return normals
