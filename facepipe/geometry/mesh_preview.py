"""Render pictures of meshes in software: a depth buffer and three lights."""

from __future__ import annotations

import math

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.volume import SurfaceMesh

BACKGROUND = (244, 244, 241)
_CLAY = np.array([196.0, 190.0, 182.0])
# (direction in the frame of the mesh: x right, y down, z toward the camera; strength)
_LIGHTS = (((-0.45, -0.55, 0.70), 0.72), ((0.80, -0.10, 0.45), 0.22), ((0.0, 0.6, 0.5), 0.10))
_AMBIENT = 0.16
_MARGIN = 1.12
_SUPERSAMPLING = 2


def render(
    mesh: SurfaceMesh,
    size_px: int,
    yaw_deg: float = 0.0,
    colours: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Draw a mesh in orthographic projection, filling the picture.

    Args:
        mesh: in reference pixels.
        size_px: side of the picture.
        yaw_deg: how far it is turned about its vertical axis; positive shows more of its left-hand side
            in the picture.
        colours: uint8 sRGB (V, 3), drawn with little shading; None for plain clay, fully shaded.

    Returns:
        uint8 RGB (size_px, size_px, 3).
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    turned = (mesh.vertices - (low + high) / 2).astype(np.float64) @ _turn(yaw_deg).T
    side = size_px * _SUPERSAMPLING
    reach = max(float(np.hypot(high[0] - low[0], high[2] - low[2])), float(high[1] - low[1]))
    scale = side / (reach * _MARGIN)
    points = turned * scale + [side / 2, side / 2, 0.0]
    light = _shade(mesh.normals.astype(np.float64) @ _turn(yaw_deg).T)[:, None]
    if colours is None:
        shaded = _CLAY * light
    else:
        shaded = colours * (0.72 + 0.28 * np.minimum(light, 1.0))
    picture = np.empty((side, side, 3))
    picture[:] = BACKGROUND
    nearest = np.full((side, side), -np.inf)
    _rasterise(points, np.ascontiguousarray(mesh.triangles, np.int32), shaded, picture, nearest)
    small = cv2.resize(picture, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def preview(
    mesh: SurfaceMesh, colours: NDArray[np.uint8], image: NDArray[np.uint8], size_px: int = 320
) -> NDArray[np.uint8]:
    """The photo beside its mesh: clay from the front and from the side, then coloured from the side.

    Args:
        mesh: in reference pixels.
        colours: uint8 sRGB (V, 3).
        image: uint8 RGB (S, S, 3), the crop.
        size_px: side of each of the four pictures.

    Returns:
        uint8 RGB (size_px, 4 * size_px, 3).
    """
    shrinks = image.shape[0] > size_px
    way = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    photo = np.asarray(cv2.resize(image, (size_px, size_px), interpolation=way), np.uint8)
    clay = [render(mesh, size_px, yaw) for yaw in (0.0, 38.0)]
    return np.concatenate([photo, *clay, render(mesh, size_px, -38.0, colours)], axis=1)


def _turn(yaw_deg: float) -> NDArray[np.float64]:
    cos, sin = math.cos(math.radians(yaw_deg)), math.sin(math.radians(yaw_deg))
    return np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])


def _shade(normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lambert's cosine law under the fixed lights: (V, 3) -> (V,)."""
    total = np.full(len(normals), _AMBIENT)
    for direction, strength in _LIGHTS:
        unit = np.asarray(direction) / np.linalg.norm(direction)
        total += strength * np.maximum(normals @ unit, 0.0)
    return total


@numba.njit(cache=True, nogil=True)
def _rasterise(
    points: NDArray[np.float64],
    triangles: NDArray[np.int32],
    colours: NDArray[np.float64],
    picture: NDArray[np.float64],
    nearest: NDArray[np.float64],
) -> None:
    """Draw triangles into a picture (H, W, 3) behind a depth buffer (H, W), colours interpolated."""
    height, width = nearest.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        ax, ay, bx, by, cx, cy = (
            points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1],
        )  # fmt: skip
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0.0:  # seen from behind, y being down
            continue
        for row in range(max(0, math.ceil(min(ay, by, cy) - 0.5)), min(height, int(max(ay, by, cy) + 0.5))):
            y = row + 0.5
            for column in range(
                max(0, math.ceil(min(ax, bx, cx) - 0.5)), min(width, int(max(ax, bx, cx) + 0.5))
            ):
                x = column + 0.5
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1.0 - u - v
                if u < 0.0 or v < 0.0 or w < 0.0:
                    continue
                z = u * points[a, 2] + v * points[b, 2] + w * points[c, 2]
                if z > nearest[row, column]:
                    nearest[row, column] = z
                    for k in range(3):
                        picture[row, column, k] = u * colours[a, k] + v * colours[b, k] + w * colours[c, k]
