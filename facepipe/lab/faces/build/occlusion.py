"""How much of the sky each vertex of the mean head sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.lab.faces.raster import rasterise, vertex_normals

DIRECTIONS = 200
PICTURE_PX = 400
SLACK_MM = 4.0


def sky_share(points_mm: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Cosine-weighted visible share (V,) in 0..1 for vertices in the model's frame (y up)."""
    rng = np.random.default_rng(0)
    picture_frame = points_mm * np.array([1, -1, 1], np.float32)
    normals = vertex_normals(picture_frame, triangles)
    centre = picture_frame[np.unique(triangles)].mean(0)
    reach = np.linalg.norm(picture_frame - centre, axis=1).max()
    scale = PICTURE_PX / 2 / reach
    seen, total = np.zeros(len(points_mm)), np.full(len(points_mm), 1e-6)
    for _ in range(DIRECTIONS):
        towards = rng.normal(size=3)
        towards /= np.linalg.norm(towards)
        side = np.cross(towards, [0.0, 1.0, 0.1])
        side /= np.linalg.norm(side)
        turned = (picture_frame - centre) @ np.stack([side, np.cross(towards, side), towards]).T.astype(
            np.float32
        )
        shot = turned * scale + np.array([PICTURE_PX / 2, PICTURE_PX / 2, 0], np.float32)
        depth = rasterise(shot, triangles, PICTURE_PX).depth
        x, y = np.clip(shot[:, :2].astype(int), 0, PICTURE_PX - 1).T
        weight = np.maximum(0, normals @ towards)
        seen += weight * (shot[:, 2] >= depth[y, x] - SLACK_MM * scale)
        total += weight
    return np.asarray(seen / total, np.float32)
