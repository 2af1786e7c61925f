"""Draws a scene on the CPU: linear light and coverage, before background and camera."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.geometry.head_labels import SKIN
from facepipe.lab.faces.appearance_values import Look
from facepipe.lab.faces.hair import drape, layer, rooted
from facepipe.lab.faces.light import shine_on
from facepipe.lab.faces.named_arrays import Values
from facepipe.lab.faces.ops import NumpyOps, dot
from facepipe.lab.faces.raster import NOTHING, Fragments, rasterise
from facepipe.lab.faces.scene import MASKS, Scene, Shell
from facepipe.lab.faces.shadow import ShadowMap
from facepipe.lab.faces.skin import paint, through_lens

METERED_MM, METERED_RADIUS_MM = (0.0, 5.0, 15.0), 42.0
"""Middle and radius on the mean head of the skin that a camera exposes for."""

UNMETERED_LEVEL = 0.3
"""Taken for the brightness of a face of which nothing is visible."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """A picture of the head alone.

    Attributes:
        light: float32 (S, S, 3), linear, multiplied by coverage.
        coverage: float32 (S, S), 0..1.
        triangle: int32 (S, S), the opaque triangle at each pixel, or -1.
        face_level: geometric mean brightness of the visible middle of the face, linear.
    """

    light: NDArray[np.float32]
    coverage: NDArray[np.float32]
    triangle: NDArray[np.int32]
    face_level: float


def draw(scene: Scene, look: Look, size_px: int) -> Drawing:
    """Draw a scene that was built for pictures of this size."""
    ops: Any = NumpyOps
    values = Values(look.arrays())
    shadows = ShadowMap(scene.points, scene.triangles, look.key_direction, look.softness)
    channels = np.concatenate([scene.place, scene.normals, scene.points, scene.masks], 1)
    base = rasterise(scene.points, scene.triangles, size_px)
    light = np.zeros((size_px, size_px, 3), np.float32)
    coverage = (base.triangle != NOTHING).astype(np.float32)

    where, triangle, found = gather(base, scene.triangles, channels)
    place, normal, position, masks = _split(found)
    label = scene.label[triangle]
    named = Values(dict(zip(MASKS, masks, strict=True)))
    surface = paint(ops, values, label, place, normal, named)
    surface.colour = np.where(
        label == SKIN, rooted(ops, values, place, named.ears, surface.colour), surface.colour
    )
    shone = shine_on(ops, values, surface, shadows.share(position))
    light.reshape(-1, 3)[where] = shone.T

    for shell in scene.shells:
        _blend_shell(shell, values, channels, shadows, base.depth, light, coverage)
    if len(scene.lenses):
        _blend_lenses(scene, values, channels, base.depth, light)
    return Drawing(light, coverage, base.triangle, _face_level(label, place, shone))


def _face_level(label: NDArray[np.uint8], place: NDArray[np.float32], shone: NDArray[np.float32]) -> float:
    middle = (place - np.array(METERED_MM, np.float32)[:, None]) / np.float32(METERED_RADIUS_MM)
    metered = (label == SKIN) & (dot(middle, middle) < 1)
    if not metered.any():
        return UNMETERED_LEVEL
    return float(np.exp(np.log(np.maximum(shone[:, metered].mean(0), 1e-3)).mean()))


def _split(found: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    place, normal, position, masks = found[:3], found[3:6], found[6:9], found[9:]
    length = np.sqrt(dot(normal, normal)) + np.float32(1e-9)
    return place, normal / np.where(normal[2] < 0, -length, length), position, masks


def _blend_shell(
    shell: Shell,
    look: Any,
    channels: NDArray[np.float32],
    shadows: ShadowMap,
    depth: NDArray[np.float32],
    light: NDArray[np.float32],
    coverage: NDArray[np.float32],
) -> None:
    fragments = rasterise(shell.points, shell.triangles, len(depth))
    fragments.triangle[fragments.depth <= depth] = NOTHING
    where, _, found = gather(fragments, shell.triangles, channels)
    if not len(where):
        return
    place, normal, position, _ = _split(found)
    surface, opacity = (drape if shell.is_drape else layer)(NumpyOps, look, shell.share, place, normal)
    # The light reaches hair from between the strands: its own shadow is soft.
    lit = 0.35 + 0.65 * shadows.share(position)
    shone = shine_on(NumpyOps, look, surface, lit)
    flat, cover = light.reshape(-1, 3), coverage.reshape(-1)
    flat[where] += (shone.T - flat[where]) * opacity[:, None]
    cover[where] = 1 - (1 - cover[where]) * (1 - opacity)


def _blend_lenses(
    scene: Scene,
    look: Any,
    channels: NDArray[np.float32],
    depth: NDArray[np.float32],
    light: NDArray[np.float32],
) -> None:
    fragments = rasterise(scene.points, scene.lenses, len(depth))
    fragments.triangle[fragments.depth <= depth] = NOTHING
    where, _, found = gather(fragments, scene.lenses, channels)
    flat = light.reshape(-1, 3)
    flat[where] = through_lens(NumpyOps, look, flat[where].T, found[:3]).T


@numba.njit(cache=True, nogil=True)
def _gather(
    triangle: NDArray[np.int32],
    weight_a: NDArray[np.float32],
    weight_b: NDArray[np.float32],
    triangles: NDArray[np.int32],
    channels: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    flat, wa, wb = triangle.ravel(), weight_a.ravel(), weight_b.ravel()
    count = 0
    for i in range(flat.shape[0]):
        if flat[i] >= 0:
            count += 1
    where = np.empty(count, np.int64)
    which = np.empty(count, np.int32)
    found = np.empty((channels.shape[1], count), np.float32)
    at = 0
    for i in range(flat.shape[0]):
        t = flat[i]
        if t < 0:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        u, v = wa[i], wb[i]
        w = np.float32(1) - u - v
        for j in range(channels.shape[1]):
            found[j, at] = u * channels[a, j] + v * channels[b, j] + w * channels[c, j]
        where[at] = i
        which[at] = t
        at += 1
    return where, which, found


def gather(
    fragments: Fragments, triangles: NDArray[np.int32], channels: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Flat index (N,), triangle (N,) and interpolated channels (C, N) of the pixels that see something."""
    return _gather(fragments.triangle, fragments.weight_a, fragments.weight_b, triangles, channels)
