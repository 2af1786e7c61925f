"""Triangle surfaces: nearest points on them, and points sampled evenly.

Distances are to points of the surface, not to vertices, so that meshes of different density compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.volume import SurfaceMesh, vertex_normals
from facepipe.metrics.nearest import VertexGrid, closest, cumulated_areas, triangles_around, walk


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points on a surface.

    Attributes:
        points: float64 (N, 3).
        triangles: int32 (N,), on which triangle each lies.
        weights: float64 (N, 3), its barycentric weights there.
    """

    points: NDArray[np.float64]
    triangles: NDArray[np.int32]
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
        self.triangles = np.ascontiguousarray(renumbered[triangles], np.int32)

    @classmethod
    def of(cls, mesh: SurfaceMesh) -> Surface:
        """An isosurface, all of whose vertices are in use, with the normals that it has."""
        made = cls.__new__(cls)
        made.vertices = np.ascontiguousarray(mesh.vertices, np.float64)
        made.triangles = np.ascontiguousarray(mesh.triangles, np.int32)
        made.normals = mesh.normals.astype(np.float64)
        return made

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

    def nearest_vertices(self, points: NDArray[np.floating]) -> NDArray[np.int32]:
        """The index of the vertex nearest to each of (N, 3) points.

        Raises:
            ValueError: a coordinate is not finite.
        """
        if not np.isfinite(points).all():
            raise ValueError("points to look for on a surface must be finite")
        return self._grid.nearest(np.ascontiguousarray(points, np.float64))

    def walk(self, points: NDArray[np.float64], vertices: NDArray[np.int32]) -> NDArray[np.int32]:
        """Go from a vertex (N,) for each of (N, 3) points along edges to nearer ones, as long as there are.

        For points that moved a little since `vertices` were their nearest ones: faster than asking again,
        and nearly always the same answer.
        """
        return np.asarray(walk(points, vertices, *self.around, self.vertices, self.triangles))

    def closest_around(self, points: NDArray[np.floating], vertices: NDArray[np.int32]) -> SurfacePoints:
        """For each of (N, 3) points the nearest one on the triangles around a vertex (N,)."""
        targets = np.ascontiguousarray(points, np.float64)
        return SurfacePoints(*closest(targets, vertices, *self.around, self.vertices, self.triangles))

    def sample(self, count: int, seed: int) -> SurfacePoints:
        """Points spread over the surface, uniformly by area."""
        rng = np.random.default_rng(seed)
        ends = cumulated_areas(self.vertices, self.triangles)
        # Stratified along the cumulated area: more even than independent draws.
        at = (np.arange(count) + rng.random(count)) / count * ends[-1]
        chosen = np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1).astype(np.int32)
        # The square root makes the density uniform (Osada et al. 2002).
        root, share = np.sqrt(rng.random(count)), rng.random(count)
        weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
        return SurfacePoints(self._at(chosen, weights), chosen, weights)

    def normals_at(self, where: SurfacePoints) -> NDArray[np.float64]:
        """Unit normals (N, 3) at points of the surface, interpolated between the vertices."""
        normals = np.einsum("nk,nkd->nd", where.weights, self.normals[self.triangles[where.triangles]])
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return np.asarray(normals / np.where(length > 0, length, 1.0))

    def _at(self, chosen: NDArray[np.int32], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = self.vertices[self.triangles[chosen]]
        return np.asarray(np.einsum("nk,nkd->nd", weights, corners))

    @cached_property
    def _grid(self) -> VertexGrid:
        return VertexGrid.of(self.vertices)

    @cached_property
    def around(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """For each vertex the triangles around it, as start offsets (V + 1) and one list."""
        return triangles_around(self.triangles, len(self.vertices))
