"""Marching cubes of a volume of whole numbers, only where its surface lies.

Triangles are those of `skimage.measure.marching_cubes` in its order (Lewiner et al. 2003), vertices on edges
to the last bit, the few inside cells within rounding: how a cell is cut is asked of it, once for each of the
patterns whose cut follows from which corners are inside, and each time for cells that can be cut in two ways.
Going through the cells and sharing vertices between them is done here.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray
from skimage.measure import marching_cubes

N_PATTERNS = 256
"""Of a cell's corners, inside or not; the bit of a corner is 4 z + 2 y + x."""

CENTRE = 12
"""What stands for the vertex inside a cell, beside edges: 4 axis + the two coordinates across, as bits."""

_ON_GRID = 1e-4
"""How near to a whole number a coordinate is that is one; edges of whole numbers are cut farther off."""


class Cuts(NamedTuple):
    """How cells are cut into triangles.

    Attributes:
        start: int32, where each cell's corners begin in `edges`, and one past the last.
        edges: int8, the edge that each corner of a triangle lies on, or `CENTRE`.
        centres: float32 (n, 3), the vertex inside each cell: z, y and x from its first corner.
    """

    start: NDArray[np.int32]
    edges: NDArray[np.int8]
    centres: NDArray[np.float32]


def isosurface(values: NDArray[np.uint8], level: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The surface at a level that no voxel has, of (D, H, W) whose border is all on one side of it.

    Returns:
        Vertices (V, 3) as z, y, x in voxels, and triangles (T, 3), counter-clockwise from outside as in
        `facepipe.geometry.volume.SurfaceMesh`.
    """
    cells, patterns = _crossed_cells(values, level)
    unclear = _two_ways()[patterns]
    ways, own = _clear_cuts(), _cut(_corners(values, cells[unclear]), level)
    cut = patterns.astype(np.int32)
    cut[unclear] = N_PATTERNS + np.arange(np.count_nonzero(unclear))
    start = np.concatenate([ways.start, ways.start[-1] + own.start[1:]])
    edges, centres = np.concatenate([ways.edges, own.edges]), np.concatenate([ways.centres, own.centres])
    return _emit(values, level, cells, cut, start, edges, centres)


@lru_cache(maxsize=1)
def _clear_cuts() -> Cuts:
    """How a cell of each pattern is cut; of those that can be cut in two ways one of them."""
    bits = np.arange(N_PATTERNS)[:, None] >> np.arange(8) & 1
    return _cut(np.where(bits, 1.0, -1.0).astype(np.float32).reshape(-1, 2, 2, 2), 0.0)


@lru_cache(maxsize=1)
def _two_ways() -> NDArray[np.bool_]:
    """Whether more than the corners' sides decides: equal ones face each other across a face, or the cell."""
    corners = np.arange(N_PATTERNS)[:, None] >> np.arange(8) & 1
    found = np.zeros(N_PATTERNS, bool)
    for axis in (1, 2, 4):
        first, second = (bit for bit in (1, 2, 4) if bit != axis)
        for side in (0, axis):
            a, b, c, d = (corners[:, side + at] for at in (0, first, second, first + second))
            found |= (a == d) & (b == c) & (a != b)
    for pair in (0b10000001, 0b01000010, 0b00100100, 0b00011000):
        found[[pair, N_PATTERNS - 1 - pair]] = True
    return found


def _cut(corners: NDArray[np.float32], level: float) -> Cuts:
    """Have cells (n, 2, 2, 2) cut, side by side in one volume in which nothing lies between them."""
    n = len(corners)
    across = max(1, int(np.ceil(np.sqrt(n))))
    volume = np.full((2, 2 * across, 2 * across), corners.flat[0] if n else 0, np.float32)
    mask = np.zeros(volume.shape, bool)
    row, column = np.divmod(np.arange(n), across)
    for z, y, x in np.ndindex(2, 2, 2):
        volume[z, 2 * row + y, 2 * column + x] = corners[:, z, y, x]
    mask[1, 2 * row + 1, 2 * column + 1] = True
    start, centres = np.zeros(n + 1, np.int32), np.zeros((n, 3), np.float32)
    if not volume.min() < level < volume.max():
        return Cuts(start, np.empty(0, np.int8), centres)
    vertices, triangles, _, _ = marching_cubes(volume, level, mask=mask)
    place = np.floor(vertices[:, 1:] / 2 + _ON_GRID).astype(np.int64)
    cell = place[:, 0] * across + place[:, 1]
    local = vertices - np.stack([np.zeros(len(place)), *(2 * place.T)], axis=1)
    order = triangles[:, ::-1].ravel()  # scikit-image turns triangles round at the end
    np.cumsum(np.bincount(cell[order], minlength=n), out=start[1:])
    edges = _edges(local)
    inside = edges == CENTRE
    centres[cell[inside]] = local[inside]
    return Cuts(start, edges[order], centres)


def _edges(local: NDArray[np.floating]) -> NDArray[np.int8]:
    """The edge of a cell that each of (N, 3) vertices lies on, or `CENTRE`."""
    whole = np.rint(local).astype(np.int8)
    off = np.abs(local - whole) > _ON_GRID
    z, y, x = whole.T
    edges = np.full(len(local), CENTRE, np.int8)
    for axis, (of, first, second) in enumerate(((2, y, z), (1, x, z), (0, x, y))):
        here = off[:, of] & (off.sum(axis=1) == 1)
        edges[here] = (4 * axis + first + 2 * second)[here]
    return edges


def _corners(values: NDArray[np.uint8], cells: NDArray[np.int32]) -> NDArray[np.float32]:
    """The values (n, 2, 2, 2) at the corners of cells (n, 3)."""
    z, y, x = (cells[:, axis, None, None, None] for axis in range(3))
    ones = np.arange(2)
    return values[z + ones[:, None, None], y + ones[:, None], x + ones].astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _crossed_cells(values: NDArray[np.uint8], level: float) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """The cells (n, 3) with corners on both sides, by z, y and x, and their patterns."""
    depth, height, width = values.shape
    threshold = np.uint8(math.floor(level))
    cells = np.empty((1024, 3), np.int32)
    patterns = np.empty(1024, np.uint8)
    n = 0
    for k in range(depth - 1):
        for i in range(height - 1):
            before = 0
            for j in range(width):
                column = (
                    int(values[k, i, j] > threshold)
                    | int(values[k, i + 1, j] > threshold) << 2
                    | int(values[k + 1, i, j] > threshold) << 4
                    | int(values[k + 1, i + 1, j] > threshold) << 6
                )
                pattern = before | column << 1
                before = column
                if j == 0 or pattern == 0 or pattern == N_PATTERNS - 1:
                    continue
                if n == len(patterns):
                    cells = np.concatenate((cells, np.empty_like(cells)))
                    patterns = np.concatenate((patterns, np.empty_like(patterns)))
                cells[n, 0], cells[n, 1], cells[n, 2], patterns[n] = k, i, j - 1, pattern
                n += 1
    return cells[:n], patterns[:n]


@numba.njit(cache=True, nogil=True)
def _emit(
    values: NDArray[np.uint8],
    level: float,
    cells: NDArray[np.int32],
    cut: NDArray[np.int32],
    start: NDArray[np.int32],
    edges: NDArray[np.int8],
    centres: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices and triangles of all cells, each vertex made by the first cell that uses it."""
    n_corners = 0
    for c in range(len(cells)):
        n_corners += start[cut[c] + 1] - start[cut[c]]
    corners = np.empty(n_corners, np.int32)
    vertices = np.empty((n_corners, 3), np.float32)
    # The vertices on edges along x, y and z that begin in two slices: even and odd ones. -1 for none.
    made = np.full((3, 2, *values.shape[1:]), -1, np.int32)
    n = at = 0
    before = -2
    for c in range(len(cells)):
        k, i, j = cells[c, 0], cells[c, 1], cells[c, 2]
        if k != before:
            made[:2, (k + 1) % 2] = -1
            made[2, k % 2] = -1
            if k != before + 1:
                made[:2, k % 2] = -1
            before = k
        centre = -1
        for e in range(start[cut[c]], start[cut[c] + 1]):
            edge = edges[e]
            if edge == CENTRE:
                if centre < 0:
                    centre = n
                    vertices[n, 0] = k + centres[cut[c], 0]
                    vertices[n, 1] = i + centres[cut[c], 1]
                    vertices[n, 2] = j + centres[cut[c], 2]
                    n += 1
                corners[at] = centre
            else:
                axis, one, two = edge >> 2, edge & 1, edge >> 1 & 1
                z = k + (two if axis < 2 else 0)
                y = i + (one if axis == 0 else two if axis == 2 else 0)
                x = j + (0 if axis == 0 else one)
                if made[axis, z % 2, y, x] < 0:
                    made[axis, z % 2, y, x] = n
                    vertices[n, 0], vertices[n, 1], vertices[n, 2] = z, y, x
                    far = values[z + (axis == 2), y + (axis == 1), x + (axis == 0)]
                    vertices[n, 2 - axis] += _crossing(values[z, y, x], far, level)
                    n += 1
                corners[at] = made[axis, z % 2, y, x]
            at += 1
    return vertices[:n].copy(), corners.reshape(-1, 3)


@numba.njit(cache=True, nogil=True)
def _crossing(near, far, level):  # type: ignore[no-untyped-def]
    """Where between two values the level lies, 0 to 1, by inverse distances as scikit-image has it."""
    to_near, to_far = 1.0 / abs(near - level), 1.0 / abs(far - level)
    return to_far / (to_near + to_far)
