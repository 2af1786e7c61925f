"""Loops over voxels and triangles that more than one module needs, compiled where numpy is too slow."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import INSIDE_LEVEL

# A byte is inside from 128 on, which is when its highest bit is set. Multiplied so, the highest bits of the
# eight bytes of a word meet in its uppermost byte.
_HIGHEST_BITS = np.uint64(0x8080808080808080)
_GATHER = np.uint64(0x0002040810204081)
_UPPERMOST = np.uint64(56)


def pack_inside(volume: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """One bit for each voxel of a uint8 volume, set where it is inside, in whole words: the rest is 0."""
    flat = np.ascontiguousarray(volume).ravel()
    words = -(-flat.size // 64)
    if flat.size % 64:
        flat = np.concatenate([flat, np.zeros(words * 64 - flat.size, np.uint8)])
    return _packed(flat.view(np.uint64)).view(np.uint64)


@numba.njit(cache=True, nogil=True)
def _packed(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    packed = np.empty(words.size, np.uint8)
    for i in range(words.size):
        packed[i] = ((words[i] & _HIGHEST_BITS) * _GATHER) >> _UPPERMOST
    return packed


def count_inside(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> tuple[int, int]:
    """How many voxels are inside both of two packed volumes of one shape, and how many inside either."""
    return int(np.bitwise_count(a & b).sum()), int(np.bitwise_count(a | b).sum())


@numba.njit(cache=True, nogil=True)
def foremost_inside(volume: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The last slice of each column of (D, H, W) that is inside: int32 (H, W), 0 where none is.

    Slice after slice, as they lie in memory.
    """
    depth, height, width = volume.shape
    front = np.zeros((height, width), np.int32)
    for k in range(depth):
        for y in range(height):
            for x in range(width):
                if volume[k, y, x] >= INSIDE_LEVEL:
                    front[y, x] = k
    return front


@numba.njit(cache=True, nogil=True)
def normal_sums(vertices: NDArray[np.float64], triangles: NDArray[np.integer]) -> NDArray[np.float64]:
    """For each vertex (V, 3) the sum over its triangles (T, 3) of (c - a) x (b - a), float64 (V, 3)."""
    sums = np.zeros((len(vertices), 3))
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        bx, cx = vertices[b, 0] - vertices[a, 0], vertices[c, 0] - vertices[a, 0]
        by, cy = vertices[b, 1] - vertices[a, 1], vertices[c, 1] - vertices[a, 1]
        bz, cz = vertices[b, 2] - vertices[a, 2], vertices[c, 2] - vertices[a, 2]
        for corner in (a, b, c):
            sums[corner, 0] += cy * bz - cz * by
            sums[corner, 1] += cz * bx - cx * bz
            sums[corner, 2] += cx * by - cy * bx
    return sums


@numba.njit(cache=True, nogil=True)
def occupied_axes(
    volume: NDArray[np.uint8], level: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
    """Which slices, rows and columns of (D, H, W) hold a voxel above a whole level: 1 where one does."""
    depth, height, width = volume.shape
    slices, rows, columns = np.zeros(depth, np.uint8), np.zeros(height, np.uint8), np.zeros(width, np.uint8)
    for k in range(depth):
        for y in range(height):
            row = np.uint8(0)
            for x in range(width):
                above = np.uint8(volume[k, y, x] > level)
                columns[x] |= above
                row |= above
            rows[y] |= row
            slices[k] |= row
    return slices, rows, columns
