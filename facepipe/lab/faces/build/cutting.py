"""Cutting and closing triangle meshes whose vertices are weighted sums of the base mesh's vertices.

Every operation returns new rows of weights, so that a cut made once on the template follows every head.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

SNAP_DM = 0.012
"""A vertex this near to a cutting plane counts as on it, which avoids slivers."""


class Mesh:
    """Template vertices as `weights @ base vertices`, growing as parts are cut and closed.

    Attributes:
        weights: (V, B) sparse rows.
        points: float64 (V, 3), the template.
    """

    def __init__(self, base: NDArray[np.floating]) -> None:
        self._base = np.asarray(base, np.float64)
        self._rows: list[dict[int, float]] = [{i: 1.0} for i in range(len(base))]
        self._points = list(self._base)

    @property
    def points(self) -> NDArray[np.float64]:
        """The template's vertices (V, 3), decimetres."""
        return np.array(self._points)

    @property
    def weights(self) -> sp.csr_matrix:
        """The rows (V, B) that make the vertices from those of any head in the base topology."""
        at = [(i, j, w) for i, row in enumerate(self._rows) for j, w in row.items()]
        rows, columns, values = zip(*at, strict=True)
        return sp.csr_matrix((values, (rows, columns)), shape=(len(self._rows), len(self._base)))

    def add(self, parts: dict[int, float]) -> int:
        """Add the weighted sum of existing vertices and return its index."""
        row: dict[int, float] = defaultdict(float)
        for vertex, share in parts.items():
            for j, w in self._rows[vertex].items():
                row[j] += share * w
        self._rows.append(dict(row))
        self._points.append(sum(w * self._base[j] for j, w in row.items()))
        return len(self._rows) - 1

    def cut(
        self, triangles: NDArray[np.int64], normal: NDArray[np.float64], offset: float
    ) -> NDArray[np.int64]:
        """Keep the side where normal . x >= offset; triangles that cross the plane are split on it."""
        height = self.points @ normal - offset
        height[np.abs(height) < SNAP_DM] = 0.0
        made: dict[tuple[int, int], int] = {}

        def crossing(i: int, j: int) -> int:
            key = (min(i, j), max(i, j))
            if key not in made:
                share = height[i] / (height[i] - height[j])
                made[key] = self.add({i: 1 - share, j: share})
            return made[key]

        kept = []
        for triangle in triangles.tolist():
            polygon = []
            for i, j in zip(triangle, (*triangle[1:], triangle[0]), strict=True):
                if height[i] >= 0:
                    polygon.append(i)
                if height[i] * height[j] < 0:
                    polygon.append(crossing(i, j))
            if max(height[i] for i in triangle) <= 0:
                continue
            kept += [(polygon[0], polygon[k], polygon[k + 1]) for k in range(1, len(polygon) - 1)]
        return np.array(kept)

    def close(self, loop: list[int], apex: dict[int, float] | None = None) -> NDArray[np.int64]:
        """Close a boundary loop by a fan around its mean, or around a given weighted sum."""
        centre = self.add(apex or dict.fromkeys(loop, 1 / len(loop)))
        return np.array([(b, a, centre) for a, b in zip(loop, (*loop[1:], loop[0]), strict=True)])


def largest_component(triangles: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The triangles of the largest connected part."""
    ends = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = sp.coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (count, count))
    _, label = connected_components(graph, directed=False)
    of_triangle = label[triangles[:, 0]]
    return np.asarray(triangles[of_triangle == np.bincount(of_triangle).argmax()])


def boundary_loops(triangles: NDArray[np.int64]) -> list[list[int]]:
    """The closed chains of edges that belong to one triangle only, along the triangles' orientation."""
    edges = {(t[i], t[(i + 1) % 3]) for t in triangles.tolist() for i in range(3)}
    after: dict[int, list[int]] = defaultdict(list)
    for a, b in sorted(edges):
        if (b, a) not in edges:
            after[a].append(b)
    loops = []
    while after:
        start = next(iter(after))
        loop = [start]
        while True:
            following = after[loop[-1]].pop()
            if not after[loop[-1]]:
                del after[loop[-1]]
            if following == start:
                break
            loop.append(following)
        loops.append(loop)
    return loops
