"""Compiled loops that find the points of a triangle mesh nearest to given points, and align points to it.

Vertices are float64 (V, 3), triangles int32 (T, 3), points float64 (N, 3), all contiguous.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

VERTICES_IN_CELL = 4
"""How many vertices a cell of a grid holds that holds any, about."""

LARGEST_GRID = 128
"""Most cells along an axis of a grid."""


@dataclass(frozen=True, eq=False)
class VertexGrid:
    """The vertices of a mesh sorted into the cells of a regular grid, x fastest.

    Attributes:
        low: float64 (3,), the corner of the first cell.
        cell: the side of the cells.
        shape: how many there are along x, y and z.
        start: int32, where each cell's vertices begin in `order`, and one past the last.
        order: int32 (V,), indices of the vertices, cell after cell.
        sorted: float64 (V, 3), the vertices in this order.
    """

    low: NDArray[np.float64]
    cell: float
    shape: tuple[int, int, int]
    start: NDArray[np.int32]
    order: NDArray[np.int32]
    sorted: NDArray[np.float64]

    @classmethod
    def of(cls, vertices: NDArray[np.float64]) -> VertexGrid:
        """Sort vertices (V, 3), V > 0, whose cells are about as fine as they are dense on a surface."""
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        side = high - low
        area = float(2 * (side[0] * side[1] + side[1] * side[2] + side[2] * side[0]))
        finest = max(float(side.max()) / LARGEST_GRID, float(np.finfo(np.float32).tiny))
        cell = max(math.sqrt(VERTICES_IN_CELL * area / len(vertices)), finest)
        nx, ny, nz = (int(n) for n in np.floor(side / cell).astype(np.int64) + 1)
        start, order = _sort_into_cells(vertices, low, cell, nx, ny, nz)
        return cls(low, cell, (nx, ny, nz), start, order, vertices[order])

    def nearest(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """The index of the vertex nearest to each of (N, 3) points."""
        return _nearest_vertices(
            points, self.sorted, self.order, self.start, self.low, self.cell, *self.shape
        )


@numba.njit(cache=True, nogil=True)
def _sort_into_cells(
    vertices: NDArray[np.float64], low: NDArray[np.float64], cell: float, nx: int, ny: int, nz: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    of = np.empty(len(vertices), np.int32)
    start = np.zeros(nx * ny * nz + 1, np.int32)
    for v in range(len(vertices)):
        x = min(int((vertices[v, 0] - low[0]) / cell), nx - 1)
        y = min(int((vertices[v, 1] - low[1]) / cell), ny - 1)
        z = min(int((vertices[v, 2] - low[2]) / cell), nz - 1)
        of[v] = (z * ny + y) * nx + x
        start[of[v] + 1] += 1
    for c in range(nx * ny * nz):
        start[c + 1] += start[c]
    cursor = start[:-1].copy()
    order = np.empty(len(vertices), np.int32)
    for v in range(len(vertices)):
        order[cursor[of[v]]] = v
        cursor[of[v]] += 1
    return start, order


@numba.njit(cache=True, nogil=True)
def _nearest_vertices(
    points: NDArray[np.float64],
    vertices: NDArray[np.float64],
    order: NDArray[np.int32],
    start: NDArray[np.int32],
    low: NDArray[np.float64],
    cell: float,
    nx: int,
    ny: int,
    nz: int,
) -> NDArray[np.int32]:
    """Look through the layers of cells around each point, its own first, as far as the best one so far.

    A search begins with the answer of the one before: neighbours in a list are often so on the surface.
    """
    found = np.empty(len(points), np.int32)
    at = 0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best = (vertices[at, 0] - x) ** 2 + (vertices[at, 1] - y) ** 2 + (vertices[at, 2] - z) ** 2
        layer = (z - low[2]) / cell
        own = min(max(math.floor(layer), 0), nz - 1)
        for k in range(own, nz):
            off = max(k - layer, layer - (k + 1), 0.0) * cell
            if off * off > best and k > layer:
                break
            best, at = _search_layer(x, y, z, off, k, best, at, vertices, start, low, cell, nx, ny)
        for k in range(own - 1, -1, -1):
            off = max(k - layer, layer - (k + 1), 0.0) * cell
            if off * off > best and k < layer:
                break
            best, at = _search_layer(x, y, z, off, k, best, at, vertices, start, low, cell, nx, ny)
        found[i] = order[at]
    return found


@numba.njit(cache=True, nogil=True)
def _search_layer(  # type: ignore[no-untyped-def]
    x, y, z, off_z, k, best, at, vertices, start, low, cell, nx, ny
):
    """Look through the rows of a layer of cells; the best distance squared and its vertex after it."""
    row = (y - low[1]) / cell
    own = min(max(math.floor(row), 0), ny - 1)
    for way in range(2):
        j = own - way
        while 0 <= j < ny:
            off = max(j - row, row - (j + 1), 0.0) * cell
            rest = best - off_z * off_z - off * off
            if rest < 0:
                break
            reach = math.sqrt(rest) / cell
            column = (x - low[0]) / cell
            first = max(math.floor(column - reach), 0)
            last = min(math.floor(column + reach), nx - 1)
            if first <= last:
                begin = (k * ny + j) * nx
                for v in range(start[begin + first], start[begin + last + 1]):
                    distance = (
                        (vertices[v, 0] - x) ** 2 + (vertices[v, 1] - y) ** 2 + (vertices[v, 2] - z) ** 2
                    )
                    if distance < best:
                        best, at = distance, v
            j += 1 - 2 * way
    return best, at


@numba.njit(cache=True, nogil=True)
def triangles_around(
    triangles: NDArray[np.int32], n_vertices: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For each vertex the triangles around it, as start offsets (V + 1) and one list."""
    start = np.zeros(n_vertices + 1, np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            start[triangles[t, k] + 1] += 1
    for v in range(n_vertices):
        start[v + 1] += start[v]
    cursor = start[:-1].copy()
    around = np.empty(triangles.size, np.int32)
    for t in range(len(triangles)):
        for k in range(3):
            vertex = triangles[t, k]
            around[cursor[vertex]] = t
            cursor[vertex] += 1
    return start, around


@numba.njit(cache=True, nogil=True)
def walk(
    points: NDArray[np.float64],
    begin: NDArray[np.int32],
    start: NDArray[np.int32],
    around: NDArray[np.int32],
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int32],
) -> NDArray[np.int32]:
    """For each point go from a vertex (N,) along edges to nearer ones, as long as there are."""
    found = np.empty(len(points), np.int32)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        found[i] = walk_one(x, y, z, begin[i], start, around, vertices, triangles)
    return found


@numba.njit(cache=True, nogil=True)
def walk_one(x, y, z, here, start, around, vertices, triangles):  # type: ignore[no-untyped-def]
    """As `walk`, for one point."""
    arrived = np.int32(-1)
    best = (vertices[here, 0] - x) ** 2 + (vertices[here, 1] - y) ** 2 + (vertices[here, 2] - z) ** 2
    while arrived != here:
        arrived = here
        for at in range(start[arrived], start[arrived + 1]):
            for k in range(3):
                v = triangles[around[at], k]
                if v == arrived:
                    continue
                distance = (vertices[v, 0] - x) ** 2 + (vertices[v, 1] - y) ** 2 + (vertices[v, 2] - z) ** 2
                if distance < best:
                    here, best = v, distance
    return here


@numba.njit(cache=True, nogil=True)
def closest(
    points: NDArray[np.float64],
    nearest: NDArray[np.int32],
    start: NDArray[np.int32],
    around: NDArray[np.int32],
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int32],
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    """For each point the nearest one on the triangles around a vertex (N,).

    Returns:
        The points (N, 3), their triangles (N,), and their barycentric weights there (N, 3).
    """
    count = len(points)
    found = np.empty((count, 3))
    which = np.empty(count, np.int32)
    weights = np.empty((count, 3))
    for i in range(count):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        which[i], weights[i, 0], weights[i, 1], weights[i, 2], found[i, 0], found[i, 1], found[i, 2] = (
            closest_one(x, y, z, nearest[i], start, around, vertices, triangles)
        )
    return found, which, weights


@numba.njit(cache=True, nogil=True)
def closest_one(x, y, z, vertex, start, around, vertices, triangles):  # type: ignore[no-untyped-def]
    """As `closest`, for one point: the triangle, its three weights, and the point's three coordinates."""
    best = np.inf
    which = np.int32(-1)
    found = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    for at in range(start[vertex], start[vertex + 1]):
        t = around[at]
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        bx, by, bz = vertices[b, 0], vertices[b, 1], vertices[b, 2]
        cx, cy, cz = vertices[c, 0], vertices[c, 1], vertices[c, 2]
        u, v, w = _weights_of_closest(x, y, z, ax, ay, az, bx, by, bz, cx, cy, cz)
        px, py, pz = u * ax + v * bx + w * cx, u * ay + v * by + w * cy, u * az + v * bz + w * cz
        distance = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        if distance < best:
            best, which, found = distance, t, (u, v, w, px, py, pz)
    u, v, w, px, py, pz = found
    return which, u, v, w, px, py, pz


@numba.njit(cache=True, nogil=True)
def _weights_of_closest(  # type: ignore[no-untyped-def]  # noqa: PLR0911
    x, y, z, ax, ay, az, bx, by, bz, cx, cy, cz
):
    """Barycentric weights of the point of triangle abc nearest to (x, y, z).

    The plane is cut into the regions of the triangle's corners, edges and inside by the signs of
    projections on its edges (Ericson, Real-Time Collision Detection, 2004, chapter 5.1.5).
    """
    abx, aby, abz = bx - ax, by - ay, bz - az
    acx, acy, acz = cx - ax, cy - ay, cz - az
    px, py, pz = x - ax, y - ay, z - az
    ab_ap = abx * px + aby * py + abz * pz
    ac_ap = acx * px + acy * py + acz * pz
    if ab_ap <= 0 and ac_ap <= 0:
        return 1.0, 0.0, 0.0
    px, py, pz = x - bx, y - by, z - bz
    ab_bp = abx * px + aby * py + abz * pz
    ac_bp = acx * px + acy * py + acz * pz
    if ab_bp >= 0 and ac_bp <= ab_bp:
        return 0.0, 1.0, 0.0
    px, py, pz = x - cx, y - cy, z - cz
    ab_cp = abx * px + aby * py + abz * pz
    ac_cp = acx * px + acy * py + acz * pz
    if ac_cp >= 0 and ab_cp <= ac_cp:
        return 0.0, 0.0, 1.0
    area_c = ab_ap * ac_bp - ab_bp * ac_ap
    if area_c <= 0 and ab_ap >= 0 and ab_bp <= 0:
        t = ab_ap / (ab_ap - ab_bp)
        return 1.0 - t, t, 0.0
    area_b = ab_cp * ac_ap - ab_ap * ac_cp
    if area_b <= 0 and ac_ap >= 0 and ac_cp <= 0:
        t = ac_ap / (ac_ap - ac_cp)
        return 1.0 - t, 0.0, t
    area_a = ab_bp * ac_cp - ab_cp * ac_bp
    if area_a <= 0 and ac_bp - ab_bp >= 0 and ab_cp - ac_cp >= 0:
        t = (ac_bp - ab_bp) / ((ac_bp - ab_bp) + (ab_cp - ac_cp))
        return 0.0, 1.0 - t, t
    area = area_a + area_b + area_c
    if area <= 0:
        return 1.0, 0.0, 0.0
    return area_a / area, area_b / area, area_c / area


@numba.njit(cache=True, nogil=True)
def cumulated_areas(vertices: NDArray[np.float64], triangles: NDArray[np.int32]) -> NDArray[np.float64]:
    """Twice the area of each triangle and all before it, float64 (T,)."""
    sums = np.empty(len(triangles))
    total = 0.0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        bx, by, bz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        cx, cy, cz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        x, y, z = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
        total += math.sqrt(x * x + y * y + z * z)
        sums[t] = total
    return sums
