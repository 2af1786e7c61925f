"""Loops over voxels and triangles that more than one module needs, compiled where numpy is too slow."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import INSIDE_LEVEL

# A byte is inside from 128 on, which is when its highest bit is set: eight voxels are counted at once.
_HIGHEST_BITS = np.uint64(0x8080808080808080)


def count_inside(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[int, int]:
    """How many voxels are inside both of two uint8 volumes of one shape, and how many inside either."""
    flat_a, flat_b = np.ascontiguousarray(a).ravel(), np.ascontiguousarray(b).ravel()
    whole = flat_a.size // 8 * 8
    words_a, words_b = flat_a[:whole].view(np.uint64), flat_b[:whole].view(np.uint64)
    both = np.bitwise_count(words_a & words_b & _HIGHEST_BITS).sum(dtype=np.int64)
    either = np.bitwise_count((words_a | words_b) & _HIGHEST_BITS).sum(dtype=np.int64)
    rest_a, rest_b = flat_a[whole:] >= INSIDE_LEVEL, flat_b[whole:] >= INSIDE_LEVEL
    return int(both + np.count_nonzero(rest_a & rest_b)), int(either + np.count_nonzero(rest_a | rest_b))


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
