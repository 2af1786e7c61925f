"""Triangle surfaces: nearest points on them, and points sampled evenly.

Distances are to points of the surface, not to vertices, so that meshes of different density compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from facepipe.geometry.volume import vertex_normals


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points on a surface.

    Attributes:
        points: float64 (N, 3).
        triangles: int64 (N,), on which triangle each lies.
        weights: float64 (N, 3), its barycentric weights there.
    """

    points: NDArray[np.float64]
    triangles: NDArray[np.int64]
    weights: NDArray[np.float64]

    def keep(self, which: NDArray[np.bool_]) -> SurfacePoints:
        """Some of the points."""
        return SurfacePoints(self.points[which], self.triangles[which], self.weights[which])


class Surface:
    """A triangle mesh that can be asked for nearest points.

    Args:
        vertices: (V, 3), reference pixels (x right, y down, z toward the camera).
        triangles: integers (T, 3), T > 0, counter-clockwise from outside in the frame (x, -y, z).
    """

    def __init__(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
        used = np.zeros(len(vertices), bool)
        used[triangles] = True
        renumbered = np.cumsum(used) - 1
        self.vertices = np.ascontiguousarray(vertices[used], np.float64)
        self.triangles = np.ascontiguousarray(renumbered[triangles], np.int64)

    @cached_property
    def normals(self) -> NDArray[np.float64]:
        """Area-weighted unit normals (V, 3) of the vertices in use, outward."""
        return vertex_normals(self.vertices, self.triangles).astype(np.float64)

    def closest(self, points: NDArray[np.floating]) -> SurfacePoints:
        """The nearest point of the surface to each of (N, 3) points.

        It is looked for on the triangles around the nearest vertex: exact for meshes whose triangles are
        about as wide as long, never too near, and 0 for points of the surface's vertices themselves.
        """
        return self.closest_around(points, self.nearest_vertices(points))

    def nearest_vertices(self, points: NDArray[np.floating]) -> NDArray[np.int64]:
        """The index of the vertex nearest to each of (N, 3) points."""
        return np.asarray(self._tree.query(points)[1], np.int64)

    def walk(self, points: NDArray[np.float64], vertices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Go from a vertex (N,) for each of (N, 3) points along edges to nearer ones, as long as there are.

        For points that moved a little since `vertices` were their nearest ones: twenty times as fast as
        asking again, and nearly always the same answer.
        """
        return np.asarray(_walk(points, vertices, *self._around, self.vertices, self.triangles))

    def closest_around(self, points: NDArray[np.floating], vertices: NDArray[np.int64]) -> SurfacePoints:
        """For each of (N, 3) points the nearest one on the triangles around a vertex (N,)."""
        targets = np.ascontiguousarray(points, np.float64)
        start, around = self._around
        return SurfacePoints(*_closest(targets, vertices, start, around, self.vertices, self.triangles))

    def sample(self, count: int, seed: int) -> SurfacePoints:
        """Points spread over the surface, uniformly by area."""
        rng = np.random.default_rng(seed)
        edges = self.vertices[self.triangles[:, 1:]] - self.vertices[self.triangles[:, :1]]
        ends = np.cumsum(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
        # Stratified along the cumulated area: more even than independent draws.
        at = (np.arange(count) + rng.random(count)) / count * ends[-1]
        chosen = np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1)
        # The square root makes the density uniform (Osada et al. 2002).
        root, share = np.sqrt(rng.random(count)), rng.random(count)
        weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
        return SurfacePoints(self._at(chosen, weights), chosen, weights)

    def normals_at(self, where: SurfacePoints) -> NDArray[np.float64]:
        """Unit normals (N, 3) at points of the surface, interpolated between the vertices."""
        normals = np.einsum("nk,nkd->nd", where.weights, self.normals[self.triangles[where.triangles]])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.asarray(normals / np.where(length > 0, length, 1.0))

    def _at(self, chosen: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = self.vertices[self.triangles[chosen]]
        return np.asarray(np.einsum("nk,nkd->nd", weights, corners))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.vertices, balanced_tree=False, compact_nodes=False)

    @cached_property
    def _around(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each vertex the triangles around it, as start offsets and one list."""
        start = np.zeros(len(self.vertices) + 1, np.int64)
        np.cumsum(np.bincount(self.triangles.ravel(), minlength=len(self.vertices)), out=start[1:])
        return start, _triangles_around(self.triangles, start[:-1].copy())


@numba.njit(cache=True, nogil=True)
def _triangles_around(triangles: NDArray[np.int64], cursor: NDArray[np.int64]) -> NDArray[np.int64]:
    around = np.empty(triangles.size, np.int64)
    for t in range(len(triangles)):
        for k in range(3):
            vertex = triangles[t, k]
            around[cursor[vertex]] = t
            cursor[vertex] += 1
    return around


@numba.njit(cache=True, nogil=True)
def _walk(
    points: NDArray[np.float64],
    begin: NDArray[np.int64],
    start: NDArray[np.int64],
    around: NDArray[np.int64],
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
) -> NDArray[np.int64]:
    found = np.empty(len(points), np.int64)
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        here, arrived = begin[i], -1
        best = (vertices[here, 0] - x) ** 2 + (vertices[here, 1] - y) ** 2 + (vertices[here, 2] - z) ** 2
        while arrived != here:
            arrived = here
            for at in range(start[arrived], start[arrived + 1]):
                for k in range(3):
                    v = triangles[around[at], k]
                    distance = (
                        (vertices[v, 0] - x) ** 2 + (vertices[v, 1] - y) ** 2 + (vertices[v, 2] - z) ** 2
                    )
                    if distance < best:
                        here, best = v, distance
        found[i] = here
    return found


@numba.njit(cache=True, nogil=True)
def _closest(
    points: NDArray[np.float64],
    nearest: NDArray[np.int64],
    start: NDArray[np.int64],
    around: NDArray[np.int64],
    vertices: NDArray[np.float64],
    triangles: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    count = len(points)
    found = np.empty((count, 3))
    which = np.empty(count, np.int64)
    weights = np.empty((count, 3))
    for i in range(count):
        best = np.inf
        for at in range(start[nearest[i]], start[nearest[i] + 1]):
            t = around[at]
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            u, v, w = _weights_of_closest(points[i], vertices[a], vertices[b], vertices[c])
            distance = 0.0
            for d in range(3):
                gap = points[i, d] - (u * vertices[a, d] + v * vertices[b, d] + w * vertices[c, d])
                distance += gap * gap
            if distance < best:
                best = distance
                which[i] = t
                weights[i, 0], weights[i, 1], weights[i, 2] = u, v, w
                for d in range(3):
                    found[i, d] = u * vertices[a, d] + v * vertices[b, d] + w * vertices[c, d]
    return found, which, weights


@numba.njit(cache=True, nogil=True, inline="always")
def _weights_of_closest(p, a, b, c):  # type: ignore[no-untyped-def]  # noqa: PLR0911
    """Barycentric weights of the point of triangle abc nearest to p.

    The plane is cut into the regions of the triangle's corners, edges and inside by the signs of
    projections on its edges (Ericson, Real-Time Collision Detection, 2004, chapter 5.1.5).
    """
    ab_ap = ac_ap = ab_bp = ac_bp = ab_cp = ac_cp = 0.0
    for d in range(3):
        ab, ac = b[d] - a[d], c[d] - a[d]
        ab_ap += ab * (p[d] - a[d])
        ac_ap += ac * (p[d] - a[d])
        ab_bp += ab * (p[d] - b[d])
        ac_bp += ac * (p[d] - b[d])
        ab_cp += ab * (p[d] - c[d])
        ac_cp += ac * (p[d] - c[d])
    if ab_ap <= 0 and ac_ap <= 0:
        return 1.0, 0.0, 0.0
    if ab_bp >= 0 and ac_bp <= ab_bp:
        return 0.0, 1.0, 0.0
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
