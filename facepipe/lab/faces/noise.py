"""Smooth noise in space, the same on every backend: trilinear look-up in one periodic table."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

TABLE_SIDE = 32


def noise_table() -> NDArray[np.float32]:
    """The table (32, 32, 32) of values in -1..1."""
    return np.random.default_rng(20).uniform(-1, 1, (TABLE_SIDE,) * 3).astype(np.float32)


TABLE = noise_table()


def noise(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Noise (N,) in -1..1 at points (3, N); one cell of the noise is one unit."""
    return _noise(np.ascontiguousarray(points, np.float32), TABLE)


@numba.njit(cache=True, nogil=True)
def _noise(points: NDArray[np.float32], table: NDArray[np.float32]) -> NDArray[np.float32]:
    out = np.empty(points.shape[1], np.float32)
    one, two, three = np.float32(1), np.float32(2), np.float32(3)
    mask = table.shape[0] - 1
    for i in range(points.shape[1]):
        fx, fy, fz = np.floor(points[0, i]), np.floor(points[1, i]), np.floor(points[2, i])
        u, v, w = points[0, i] - fx, points[1, i] - fy, points[2, i] - fz
        u, v, w = u * u * (three - two * u), v * v * (three - two * v), w * w * (three - two * w)
        x0, y0, z0 = int(fx) & mask, int(fy) & mask, int(fz) & mask
        x1, y1, z1 = (x0 + 1) & mask, (y0 + 1) & mask, (z0 + 1) & mask
        near = (one - v) * ((one - u) * table[x0, y0, z0] + u * table[x1, y0, z0]) + v * (
            (one - u) * table[x0, y1, z0] + u * table[x1, y1, z0]
        )
        far = (one - v) * ((one - u) * table[x0, y0, z1] + u * table[x1, y0, z1]) + v * (
            (one - u) * table[x0, y1, z1] + u * table[x1, y1, z1]
        )
        out[i] = (one - w) * near + w * far
    return out
