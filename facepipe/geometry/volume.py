"""Extract surfaces from occupancy volumes: front depth and isosurface, in reference pixels.

Values live at voxel centres: slice k of a geometry at z = (k + 0.5 - z_zero) * spacing[0] of its own
pixels, row i at y = i + 0.5. Between centres occupancy is linear, and the surface lies where it is 127.5,
half of 255. A filled voxel next to an empty one therefore has its surface on the face between them, which
is where a surface that crosses somewhere between the two centres lies on average: no bias, soft or binary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes

from facepipe.core.conventions import INSIDE_LEVEL, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.geometry.isosurface import isosurface
from facepipe.geometry.kernels import foremost_inside, normal_sums, occupied_axes

SURFACE_LEVEL = 127.5
"""Occupancy of the surface. Not an integer: levels that voxels attain exactly leave holes."""

DISPLAY_SMOOTHING_PX = 0.8
"""Sigma of the smoothing of occupancy for display, reference pixels: slices are regressed one by one,
and without it the surface shows them as terraces."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class SurfaceMesh:
    """A triangle mesh in reference pixels (x right, y down, z toward the camera).

    Attributes:
        vertices: float32 (V, 3).
        triangles: int32 (T, 3), counter-clockwise seen from outside in the frame (x, -y, z).
        normals: float32 (V, 3), unit length, outward, in the frame of the vertices.
    """

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    normals: NDArray[np.float32]


def occupied_box(volume: NDArray[np.uint8], level: float = SURFACE_LEVEL) -> Box | None:
    """The smallest box (z, y, x slices) that holds every voxel above a level; None if there is none."""
    found = [np.flatnonzero(axis) for axis in occupied_axes(volume, math.floor(level))]
    if not len(found[0]):
        return None
    z, y, x = (slice(int(axis[0]), int(axis[-1]) + 1) for axis in found)
    return z, y, x


def front_depth(volume: NDArray[np.uint8], geometry: VolumeGeometry) -> NDArray[np.float32]:
    """Depth of the surface that the camera sees.

    Args:
        volume: uint8 (D, H, W).
        geometry: where its voxels lie.

    Returns:
        float32 (H, W): z in reference pixels, interpolated between the foremost voxel that is inside and
        the one before it; NaN where a column has no voxel inside.
    """
    _check_shape(volume, geometry)
    front = foremost_inside(volume)
    padded_next = np.minimum(front + 1, geometry.depth - 1)
    inner = np.take_along_axis(volume, front[None], axis=0)[0].astype(np.float64)
    outer = np.take_along_axis(volume, padded_next[None], axis=0)[0].astype(np.float64)
    outer[front == geometry.depth - 1] = 0.0
    occupied = inner >= INSIDE_LEVEL
    step = np.where(occupied, inner - outer, 1.0)
    slice_at_surface = front + 0.5 + (inner - SURFACE_LEVEL) / step
    depth = (slice_at_surface - geometry.z_zero) * geometry.spacing[0] * geometry.reference_px
    return np.where(occupied, depth, np.nan).astype(np.float32)


def coarsen(
    volume: NDArray[np.uint8], geometry: VolumeGeometry, voxel_px: float
) -> tuple[NDArray[np.uint8], VolumeGeometry]:
    """Average voxels to nearly cubic ones, for lighter meshes with the same surface.

    Args:
        volume: uint8 (D, H, W).
        geometry: where its voxels lie.
        voxel_px: the side to aim at, reference pixels. The side of the volume must divide by the number
            of pixels that are averaged, else the next smaller number that divides is taken.

    Returns:
        The smaller volume and its geometry.
    """
    _check_shape(volume, geometry)
    wanted = max(1, round(voxel_px / geometry.reference_px))
    side = max(n for n in range(1, wanted + 1) if geometry.size % n == 0)
    slices = max(1, round(voxel_px / (geometry.spacing[0] * geometry.reference_px)))
    depth, size = math.ceil(geometry.depth / slices), geometry.size // side
    padded = np.zeros((depth * slices, geometry.size, geometry.size), np.uint8)
    padded[: geometry.depth] = volume
    blocks = padded.reshape(depth, slices, size, side, size, side)
    spacing_z, spacing_y, spacing_x = geometry.spacing
    coarse = VolumeGeometry(
        size=size,
        depth=depth,
        spacing=(spacing_z * slices / side, spacing_y, spacing_x),
        z_zero=geometry.z_zero / slices,
    )
    return np.rint(blocks.mean(axis=(1, 3, 5))).astype(np.uint8), coarse


def surface(
    volume: NDArray[np.uint8],
    geometry: VolumeGeometry,
    level: float = SURFACE_LEVEL,
    smoothing_px: float = 0.0,
) -> SurfaceMesh:
    """The isosurface of a volume, closed also where the volume reaches the border of its grid.

    Marching cubes with Lewiner's tables (Lewiner et al. 2003), which leave no holes.

    Args:
        volume: uint8 (D, H, W).
        geometry: where its voxels lie.
        level: occupancy of the surface, between 0 and 255 and not an integer.
        smoothing_px: sigma of a Gaussian over the occupancy, reference pixels. For display: it takes the
            steps off binary volumes and draws in a surface of radius r by about sigma^2 / r.

    Raises:
        SampleError: empty-volume, no voxel is above the level.
        ValueError: the level is an integer or out of range.
    """
    _check_shape(volume, geometry)
    if not 0 < level < 255 or float(level).is_integer():
        raise ValueError(f"level {level}: expected a value between 0 and 255 that is not an integer")
    box = occupied_box(volume, level)
    if box is None:
        raise SampleError("empty-volume", f"no voxel is above {level:g} of 255: there is no surface")
    voxel_px = np.asarray(geometry.spacing) * geometry.reference_px
    sigma = smoothing_px / voxel_px
    values, origin = _padded(volume, box, 1 + np.ceil(4 * sigma).astype(int))
    if smoothing_px > 0:
        soft = ndimage.gaussian_filter(values.astype(np.float32), sigma, mode="constant")
        if soft.max() <= level:
            raise SampleError("empty-volume", f"smoothing by {smoothing_px:g} px leaves nothing")
        vertices, clockwise, _, _ = marching_cubes(soft, level)
        triangles = clockwise[:, ::-1]
    else:
        vertices, triangles = isosurface(values, level)
    at_centres = vertices + origin + 0.5
    at_centres[:, 0] -= geometry.z_zero
    points = np.ascontiguousarray((at_centres * voxel_px)[:, ::-1], np.float32)
    # The axes' reversal to (x, y, z) and the flip of y are two mirrorings, which leave orientation as it is.
    faces = np.ascontiguousarray(triangles, np.int32)
    return SurfaceMesh(points, faces, vertex_normals(points, faces))


def vertex_normals(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """Area-weighted unit normals (V, 3) of a mesh oriented as `SurfaceMesh`, in the vertices' frame."""
    # In a frame with y down the cross product of a counter-clockwise triangle's edges points inward.
    sums = normal_sums(np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(triangles))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def largest_part(mesh: SurfaceMesh) -> SurfaceMesh:
    """The connected part with the most vertices: drops the specks that float around a face."""
    n_vertices = len(mesh.vertices)
    edges = mesh.triangles[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges), np.int8), edges.T), shape=(n_vertices, n_vertices))
    _, part = connected_components(graph, directed=False)
    kept = part == np.bincount(part).argmax()
    renumbered = np.cumsum(kept, dtype=np.int32) - 1
    triangles = renumbered[mesh.triangles[kept[mesh.triangles[:, 0]]]]
    return SurfaceMesh(mesh.vertices[kept], triangles, mesh.normals[kept])


def display_surface(volume: NDArray[np.uint8], geometry: VolumeGeometry) -> SurfaceMesh:
    """The surface of a volume (D, H, W) as it is shown: smoothed, and without specks.

    Raises:
        SampleError: empty-volume.
    """
    return largest_part(surface(volume, geometry, smoothing_px=DISPLAY_SMOOTHING_PX))


def _padded(
    volume: NDArray[np.uint8], box: Box, margin: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut a box with a margin out of a volume, zeros beyond its border, and tell where it begins."""
    low = np.array([axis.start for axis in box]) - margin
    high = np.array([axis.stop for axis in box]) + margin
    inside = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(low, high, volume.shape, strict=True))
    missing = [(s.start - a, b - s.stop) for s, a, b in zip(inside, low, high, strict=True)]
    return np.pad(volume[inside], missing), low.astype(np.float64)


def _check_shape(volume: NDArray[np.uint8], geometry: VolumeGeometry) -> None:
    if volume.shape != geometry.shape:
        raise ValueError(f"volume of shape {volume.shape}, its geometry says {geometry.shape}")
