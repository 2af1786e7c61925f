"""Cast shadows of the key light by a depth map seen from it."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.lab.faces.raster import rasterise

MAP_PX = 160

TAPS = ((0.0, 0.0), (-0.9, -0.4), (0.4, -0.9), (0.9, 0.4), (-0.4, 0.9))
"""Offsets of the samples, in units of the softness."""


def light_frame(direction: tuple[float, float, float]) -> NDArray[np.float32]:
    """Rows (3, 3) of a frame whose z points to the light."""
    towards = np.asarray(direction, np.float64) / np.linalg.norm(direction)
    helper = np.array([0.0, 1.0, 0.0]) if abs(towards[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards]).astype(np.float32)


class ShadowMap:
    """What the light sees.

    Args:
        points, triangles: the opaque scene, picture pixels.
        direction: unit vector to the light, picture frame.
        softness: width of the penumbra in pixels of the map.
    """

    def __init__(
        self,
        points: NDArray[np.float32],
        triangles: NDArray[np.int32],
        direction: tuple[float, float, float],
        softness: float,
    ) -> None:
        self._frame = light_frame(direction)
        turned = points @ self._frame.T
        low, high = turned.min(0), turned.max(0)
        self._scale = np.float32((MAP_PX - 8) / max(float((high - low)[:2].max()), 1e-6))
        self._offset = (MAP_PX / 2 - (low + high) / 2 * self._scale).astype(np.float32)
        self._offset[2] = 0
        self._depth = rasterise(turned * self._scale + self._offset, triangles, MAP_PX).depth
        self._taps = np.asarray(TAPS, np.float32) * np.float32(softness)

    def share(self, positions: NDArray[np.float32]) -> NDArray[np.float32]:
        """How much of the light reaches positions (3, N), 0..1."""
        at = (self._frame @ positions) * self._scale + self._offset[:, None]
        return _share(np.ascontiguousarray(at, np.float32), self._depth, self._taps)


@numba.njit(cache=True, nogil=True)
def _share(
    at: NDArray[np.float32], depth: NDArray[np.float32], taps: NDArray[np.float32]
) -> NDArray[np.float32]:
    out = np.empty(at.shape[1], np.float32)
    last = depth.shape[0] - 1
    for i in range(at.shape[1]):
        open_taps = 0
        for k in range(taps.shape[0]):
            x = min(max(math.floor(at[0, i] + taps[k, 0]), 0), last)
            y = min(max(math.floor(at[1, i] + taps[k, 1]), 0), last)
            reach = np.float32(2.2) + np.float32(1.2) * (abs(taps[k, 0]) + abs(taps[k, 1]))
            if at[2, i] >= depth[y, x] - reach:
                open_taps += 1
        out[i] = open_taps / taps.shape[0]
    return out
