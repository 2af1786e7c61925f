"""Surfaces of volumes against solids with formulas, binary and soft, in several grids."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import marching_cubes

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.geometry.isosurface import isosurface
from facepipe.geometry.volume import (
    coarsen,
    front_depth,
    largest_part,
    occupied_box,
    surface,
    vertex_normals,
)

GEOMETRIES = [
    VolumeGeometry(),
    VolumeGeometry(size=192, spacing=(0.5, 1.0, 1.0)),
    VolumeGeometry(size=64, depth=120, spacing=(0.4, 1.0, 1.0), z_zero=70.0),
]
CENTRE_PX = np.array([61.3, 66.9, 1.7])
RADIUS_PX = 24.0


def distance_from_centre(geometry, centre=CENTRE_PX):
    px = geometry.reference_px
    z = (np.arange(geometry.depth) + 0.5 - geometry.z_zero) * geometry.spacing[0] * px
    xy = (np.arange(geometry.size) + 0.5) * px
    return np.sqrt(
        (z[:, None, None] - centre[2]) ** 2
        + (xy[None, :, None] - centre[1]) ** 2
        + (xy[None, None, :] - centre[0]) ** 2
    )


def binary_sphere(geometry, centre=CENTRE_PX, radius=RADIUS_PX):
    return np.where(distance_from_centre(geometry, centre) < radius, 255, 0).astype(np.uint8)


def soft_sphere(geometry, width_px=2.0):
    """Occupancy falls linearly over `width_px` and is a half on the sphere."""
    p = 0.5 + (RADIUS_PX - distance_from_centre(geometry)) / width_px
    return np.rint(255 * np.clip(p, 0, 1)).astype(np.uint8)


def true_front(geometry):
    xy = (np.arange(geometry.size) + 0.5) * geometry.reference_px
    across2 = (xy[None, :] - CENTRE_PX[0]) ** 2 + (xy[:, None] - CENTRE_PX[1]) ** 2
    # Only where the sphere is not steep: depth errors at the rim are errors across.
    flat = across2 < (0.7 * RADIUS_PX) ** 2
    return flat, CENTRE_PX[2] + np.sqrt(np.where(flat, RADIUS_PX**2 - across2, 0.0))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.key)
@pytest.mark.parametrize("make", [binary_sphere, soft_sphere])
def test_front_depth_of_a_sphere_has_no_bias(geometry, make):
    depth = front_depth(make(geometry), geometry)
    flat, truth = true_front(geometry)
    error = depth[flat] - truth[flat]
    slice_px = geometry.spacing[0] * geometry.reference_px
    assert depth.dtype == np.float32
    assert abs(error.mean()) < 0.06 * slice_px
    assert np.abs(error).max() <= (0.52 if make is binary_sphere else 0.15) * slice_px


def test_front_depth_is_nan_exactly_where_columns_are_empty():
    geometry = GEOMETRIES[0]
    volume = binary_sphere(geometry)
    assert np.array_equal(np.isnan(front_depth(volume, geometry)), ~(volume > 0).any(axis=0))
    assert np.isnan(front_depth(np.zeros_like(volume), geometry)).all()


def test_front_depth_by_hand():
    geometry = VolumeGeometry(size=64, depth=4, spacing=(0.5, 1.0, 1.0), z_zero=2.0)
    volume = np.zeros(geometry.shape, np.uint8)
    volume[:2, 0, 0] = 255  # front face of slice 1: (2 - 2) slices of 0.5 grid px
    volume[:, 0, 1] = 255  # filled to the border: front face of slice 3, 2 slices before z = 0
    volume[:2, 0, 2] = [255, 204]  # from 204 to 0 the level 127.5 lies 0.375 beyond slice 1's centre
    volume[1, 0, 3] = 127  # the largest value that is outside
    depth = front_depth(volume, geometry)
    slice_px = 0.5 * 2
    assert depth[0, :3] == pytest.approx([0.0, 2 * slice_px, (1.5 + 0.375 - 2) * slice_px])
    assert np.isnan(depth[0, 3])


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.key)
@pytest.mark.parametrize("make", [binary_sphere, soft_sphere])
def test_surface_of_a_sphere(geometry, make):
    mesh = surface(make(geometry), geometry)
    offset = mesh.vertices - CENTRE_PX
    error = np.linalg.norm(offset, axis=1) - RADIUS_PX
    voxel_px = geometry.reference_px
    assert np.median(np.abs(error)) < (0.25 if make is binary_sphere else 0.04) * voxel_px
    assert abs(error.mean()) < 0.06 * voxel_px
    # Opposite caps of every axis show a shift as opposite errors.
    for axis in range(3):
        for side in (-1, 1):
            cap = side * offset[:, axis] > 0.9 * RADIUS_PX
            assert abs(error[cap].mean()) < 0.12 * voxel_px, (axis, side)


@pytest.mark.parametrize("make", [binary_sphere, soft_sphere])
@pytest.mark.parametrize("level", [127.5, 10.5])
def test_surface_is_watertight_and_points_outward(make, level):
    geometry = GEOMETRIES[0]
    mesh = surface(make(geometry), geometry, level)
    in_right_handed_frame = trimesh.Trimesh(mesh.vertices * [1, -1, 1], mesh.triangles, process=False)
    assert in_right_handed_frame.is_watertight
    assert in_right_handed_frame.volume == pytest.approx(4 / 3 * np.pi * RADIUS_PX**3, rel=0.2)
    outward = (mesh.vertices - CENTRE_PX) / np.linalg.norm(mesh.vertices - CENTRE_PX, axis=1, keepdims=True)
    cosine = (mesh.normals * outward).sum(axis=1)
    # Steps of a binary volume tilt single normals, never past the horizon.
    assert cosine.min() > (0.2 if make is binary_sphere else 0.6)
    assert cosine.mean() > 0.9
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0, abs=1e-5)


def test_surface_closes_at_the_border():
    geometry = VolumeGeometry(size=64, depth=30, spacing=(1.0, 1.0, 1.0), z_zero=15.0)
    mesh = surface(np.full(geometry.shape, 255, np.uint8), geometry)
    solid = trimesh.Trimesh(mesh.vertices * [1, -1, 1], mesh.triangles, process=False)
    assert solid.is_watertight
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert low == pytest.approx([0, 0, -30]) and high == pytest.approx([128, 128, 30])


def test_smoothing_takes_the_steps_off_and_barely_draws_in():
    geometry = GEOMETRIES[0]
    rough = surface(binary_sphere(geometry), geometry)
    smooth = surface(binary_sphere(geometry), geometry, smoothing_px=1.0)
    errors = [np.linalg.norm(m.vertices - CENTRE_PX, axis=1) - RADIUS_PX for m in (rough, smooth)]
    assert errors[1].std() < 0.5 * errors[0].std()
    # Level a half of a blurred ball: drawn in by half the sum of curvatures 2 / r times sigma^2.
    assert errors[1].mean() == pytest.approx(-1 / RADIUS_PX, abs=0.03)


def test_surface_refuses_what_has_none():
    geometry = GEOMETRIES[0]
    with pytest.raises(SampleError, match="empty-volume"):
        surface(np.zeros(geometry.shape, np.uint8), geometry)
    speck = np.zeros(geometry.shape, np.uint8)
    speck[100, 64, 64] = 255
    with pytest.raises(SampleError, match="leaves nothing"):
        surface(speck, geometry, smoothing_px=2.0)
    with pytest.raises(ValueError, match="not an integer"):
        surface(binary_sphere(geometry), geometry, level=128)
    with pytest.raises(ValueError, match="geometry says"):
        surface(np.zeros((3, 4, 4), np.uint8), geometry)


def test_occupied_box():
    volume = np.zeros((5, 6, 7), np.uint8)
    assert occupied_box(volume) is None
    volume[1, 2, 3] = volume[3, 2, 5] = 128
    volume[0, 0, 0] = 127
    assert occupied_box(volume) == (slice(1, 4), slice(2, 3), slice(3, 6))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.key)
def test_coarser_voxels_keep_the_surface(geometry):
    small, coarse = coarsen(binary_sphere(geometry), geometry, voxel_px=2.0)
    assert small.shape == coarse.shape
    assert small.size <= 0.5 * np.prod(geometry.shape)
    error = np.linalg.norm(surface(small, coarse).vertices - CENTRE_PX, axis=1) - RADIUS_PX
    assert np.median(np.abs(error)) < 0.1 * coarse.reference_px
    assert abs(error.mean()) < 0.05 * coarse.reference_px


def test_largest_part_drops_specks():
    geometry = GEOMETRIES[0]
    volume = binary_sphere(geometry)
    alone = surface(volume, geometry)
    volume[5:8, 3:6, 3:6] = 255
    both = surface(volume, geometry)
    kept = largest_part(both)
    assert len(both.vertices) > len(alone.vertices) == len(kept.vertices)
    assert np.array_equal(np.sort(kept.vertices, axis=0), np.sort(alone.vertices, axis=0))
    assert trimesh.Trimesh(kept.vertices, kept.triangles, process=False).is_watertight


def test_normals_of_a_triangle_by_hand():
    # Counter-clockwise seen from the camera in (x, -y, z): its normal points to the camera.
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, -1, 0]])
    assert vertex_normals(vertices, np.array([[0, 1, 2]])) == pytest.approx(np.tile([0, 0, 1], (3, 1)))


@settings(deadline=None, max_examples=15)
@given(dx=st.integers(-20, 20), dz=st.integers(-40, 40))
def test_moving_by_whole_voxels_moves_the_surface_by_as_much(dx, dz):
    geometry = GEOMETRIES[0]
    volume = np.zeros(geometry.shape, np.uint8)
    volume[90:110, 58:70, 58:70] = 200
    moved = np.roll(volume, (dz, dx), axis=(0, 2))
    step = np.array([dx, 0, dz / 3])
    assert surface(moved, geometry).vertices == pytest.approx(
        surface(volume, geometry).vertices + step, abs=1e-4
    )


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("level", [127.5, 10.5])
def test_the_surface_is_that_of_marching_cubes_to_the_last_bit(soft, level):
    """Noise has every pattern of corners, those that can be cut in two ways with either answer, too."""
    rng = np.random.default_rng(4)
    for shape in ((17, 20, 12), (9, 30, 31)):
        values = rng.integers(0, 256, shape, np.uint8) if soft else 255 * rng.integers(0, 2, shape, np.uint8)
        values = np.pad(values, 1)
        vertices, triangles = isosurface(values, level)
        expected, clockwise, _, _ = marching_cubes(values.astype(np.float32), level)
        np.testing.assert_allclose(vertices, expected, atol=1e-5)  # vertices inside cells are rounded twice
        on_edges = (expected == np.rint(expected)).sum(axis=1) == 2
        np.testing.assert_array_equal(vertices[on_edges], expected[on_edges])
        np.testing.assert_array_equal(triangles, clockwise[:, ::-1])
