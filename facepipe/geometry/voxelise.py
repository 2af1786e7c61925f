"""Voxelise triangle meshes exactly.

A voxel is inside where the winding number of the surface along its column is not zero at the voxel's
centre, so that overlapping closed parts (eyeballs in a head) form a union and either orientation of the
triangles gives the same volume. Which side of an edge a column passes is decided in integers, with ties
broken as if every column were moved by (e, e * e) for an arbitrarily small e: neighbouring triangles
never both claim a column nor both miss it.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError

SUBPIXEL = 16384
"""Steps per grid pixel to which x and y are rounded before the exact tests."""

REACH_PX = 32768.0
"""Largest |x| or |y| in grid pixels for which the integer tests cannot overflow."""


def voxelise(
    vertices: NDArray[np.floating], triangles: NDArray[np.integer], geometry: VolumeGeometry
) -> NDArray[np.uint8]:
    """Fill a surface mesh in the grid of a regressor.

    The surface may consist of several closed parts. Where it is open, it is closed along the viewing
    axis: every boundary edge is swept backwards to the mesh's own smallest z and the plane there closes
    the hole. Columns that cross the surface in pairs are not affected, so closed meshes need no option.

    Args:
        vertices: (V, 3), reference pixels (x right, y down, z toward the camera).
        triangles: integers (T, 3), oriented alike within each connected part.
        geometry: the grid; slice k has its centre at z = (k + 0.5 - z_zero) * spacing[0] grid pixels.

    Returns:
        uint8 (D, H, W), 255 inside and 0 outside.

    Raises:
        SampleError: the vertices are not finite or lie absurdly far outside, or an index has no vertex.
    """
    grid = to_grid(vertices, geometry)
    _check(grid, triangles)
    volume = np.zeros(geometry.shape, np.uint8)
    if len(triangles):
        index = np.ascontiguousarray(triangles, np.int32)
        fixed = np.rint(grid[:, :2] * SUBPIXEL).astype(np.int32)
        depth = np.ascontiguousarray(grid[:, 2])
        near = index[_reach_a_column(fixed, index, geometry.size)]
        start, slices, signs = _crossings(fixed, depth, near, geometry.size, geometry.depth)
        back = _first_slice(_smallest(depth, index), geometry.depth)
        _fill(start, slices, signs, back, volume)
    return volume


def to_grid(vertices: NDArray[np.floating], geometry: VolumeGeometry) -> NDArray[np.float64]:
    """Map reference pixels (V, 3) to continuous voxel coordinates (x, y, slice) of a geometry."""
    spacing_z, spacing_y, spacing_x = geometry.spacing
    step = np.array([spacing_x, spacing_y, spacing_z]) * geometry.reference_px
    return np.asarray(vertices, np.float64) / step + np.array([0.0, 0.0, geometry.z_zero])


def _check(grid: NDArray[np.float64], triangles: NDArray[np.integer]) -> None:
    if not np.isfinite(grid).all():
        raise SampleError(
            "mesh-not-finite", "the mesh has vertices that are NaN or infinite; expected pixels"
        )
    farthest = float(np.abs(grid[:, :2]).max(initial=0.0))
    if farthest >= REACH_PX:
        raise SampleError(
            "mesh-out-of-range",
            f"a vertex lies {farthest:.0f} px from the origin; expected pixels below {REACH_PX:.0f}",
        )
    if len(triangles) and (triangles.min() < 0 or triangles.max() >= len(grid)):
        raise SampleError(
            "mesh-bad-index",
            f"triangles name vertices {triangles.min()}..{triangles.max()}; the mesh has 0..{len(grid) - 1}",
        )


@numba.njit(cache=True, nogil=True)
def _first_slice(z: float, depth: int) -> int:
    """Index of the first slice whose centre is at or above z, limited to 0..depth."""
    return min(max(math.ceil(z - 0.5), 0), depth)


@numba.njit(cache=True, nogil=True)
def _side(ax: int, ay: int, bx: int, by: int, px: int, py: int) -> int:
    """On which side of the line a->b the column at p passes: 1 or -1, never 0.

    The tie rule follows the derivative of the cross product by p: first by x, then by y.
    """
    cross = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    if cross == 0:
        cross = ay - by
    if cross == 0:
        cross = bx - ax
    return 1 if cross > 0 else -1


@numba.njit(cache=True, nogil=True)
def _columns(low: int, high: int, size: int) -> tuple[int, int]:
    """First and last column whose centre lies in the closed interval [low, high] of fixed-point values."""
    half = SUBPIXEL // 2
    first = -((half - low) // SUBPIXEL)
    last = (high - half) // SUBPIXEL
    return max(first, 0), min(last, size - 1)


@numba.njit(cache=True, nogil=True)
def _reach_a_column(fixed: NDArray[np.int32], triangles: NDArray[np.int32], size: int) -> NDArray[np.bool_]:
    """Which triangles (T, 3) have a column's centre in their box: of a fine mesh, few."""
    found = np.zeros(triangles.shape[0], np.bool_)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, x1 = _columns(
            min(fixed[a, 0], fixed[b, 0], fixed[c, 0]), max(fixed[a, 0], fixed[b, 0], fixed[c, 0]), size
        )
        y0, y1 = _columns(
            min(fixed[a, 1], fixed[b, 1], fixed[c, 1]), max(fixed[a, 1], fixed[b, 1], fixed[c, 1]), size
        )
        found[t] = (x0 <= x1) & (y0 <= y1)
    return found


@numba.njit(cache=True, nogil=True)
def _smallest(depth: NDArray[np.float64], triangles: NDArray[np.int32]) -> float:
    """The smallest depth of the vertices that triangles (T, 3) use."""
    found = np.inf
    for t in range(triangles.shape[0]):
        found = min(found, depth[triangles[t, 0]], depth[triangles[t, 1]], depth[triangles[t, 2]])
    return found


@numba.njit(cache=True, nogil=True)
def _visit(
    fixed: NDArray[np.int32],
    depth: NDArray[np.float64],
    triangles: NDArray[np.int32],
    size: int,
    slice_count: int,
    cursor: NDArray[np.int64],
    slices: NDArray[np.int16],
    signs: NDArray[np.int8],
) -> None:
    """Advance `cursor[y * size + x]` for each crossing; store the crossings when `slices` has room."""
    store = slices.shape[0] > 0
    half = SUBPIXEL // 2
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay = np.int64(fixed[a, 0]), np.int64(fixed[a, 1])
        bx, by = np.int64(fixed[b, 0]), np.int64(fixed[b, 1])
        cx, cy = np.int64(fixed[c, 0]), np.int64(fixed[c, 1])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        sign = 1 if area > 0 else -1
        x0, x1 = _columns(min(ax, bx, cx), max(ax, bx, cx), size)
        y0, y1 = _columns(min(ay, by, cy), max(ay, by, cy), size)
        for y in range(y0, y1 + 1):
            py = y * SUBPIXEL + half
            for x in range(x0, x1 + 1):
                px = x * SUBPIXEL + half
                if (
                    _side(ax, ay, bx, by, px, py) != sign
                    or _side(bx, by, cx, cy, px, py) != sign
                    or _side(cx, cy, ax, ay, px, py) != sign
                ):
                    continue
                at = y * size + x
                if store:
                    weight_a = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                    weight_b = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                    z = weight_a * depth[a] + weight_b * depth[b] + (1.0 - weight_a - weight_b) * depth[c]
                    slices[cursor[at]] = _first_slice(z, slice_count)
                    signs[cursor[at]] = sign
                cursor[at] += 1


@numba.njit(cache=True, nogil=True)
def _crossings(
    fixed: NDArray[np.int32],
    depth: NDArray[np.float64],
    triangles: NDArray[np.int32],
    size: int,
    slice_count: int,
) -> tuple[NDArray[np.int64], NDArray[np.int16], NDArray[np.int8]]:
    """Every crossing of a column with the surface: where each column's list starts, slices and signs."""
    counts = np.zeros(size * size, np.int64)
    none = np.zeros(0, np.int16)
    _visit(fixed, depth, triangles, size, slice_count, counts, none, np.zeros(0, np.int8))
    start = np.zeros(size * size + 1, np.int64)
    for i in range(size * size):
        start[i + 1] = start[i] + counts[i]
    slices = np.zeros(start[-1], np.int16)
    signs = np.zeros(start[-1], np.int8)
    if start[-1] > 0:
        _visit(fixed, depth, triangles, size, slice_count, start[:-1].copy(), slices, signs)
    return start, slices, signs


@numba.njit(cache=True, nogil=True)
def _fill(
    start: NDArray[np.int64],
    slices: NDArray[np.int16],
    signs: NDArray[np.int8],
    back: int,
    volume: NDArray[np.uint8],
) -> None:
    """Fill each column where its winding number differs from zero, closed at the slice `back`.

    Where a column goes in or out is marked first; what lies between is then filled slice by slice, as
    slices lie in memory.
    """
    slice_count, size = volume.shape[0], volume.shape[2]
    change = np.zeros(slice_count + 1, np.int32)
    top, bottom, lowest, highest = size, 0, slice_count, 0
    for at in range(size * size):
        first, last = start[at], start[at + 1]
        if first == last:
            continue
        y, x = at // size, at % size
        total = 0
        low, high = slice_count, 0
        for i in range(first, last):
            change[slices[i]] += signs[i]
            total += signs[i]
            low, high = min(low, slices[i]), max(high, slices[i])
        change[back] -= total
        if total != 0:
            low, high = min(low, back), max(high, back)
        winding = 0
        for k in range(low, min(high, slice_count - 1) + 1):
            before = winding
            winding += change[k]
            if (winding != 0) != (before != 0):
                volume[k, y, x] = 255
        change[low : high + 1] = 0
        top, bottom = min(top, y), max(bottom, y + 1)
        lowest, highest = min(lowest, low), max(highest, high)
    for k in range(lowest + 1, min(highest + 1, slice_count)):
        for y in range(top, bottom):
            for x in range(size):
                volume[k, y, x] ^= volume[k - 1, y, x]
