"""Voxels against solids with formulas, against an independent library, and limit cases."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import SampleError
from facepipe.geometry.voxelise import voxelise

GEOMETRIES = [
    VolumeGeometry(),
    VolumeGeometry(size=192, spacing=(0.5, 1.0, 1.0)),
    VolumeGeometry(size=64, depth=120, spacing=(1.171875 * 128 / 450 / 2, 1.0, 1.0), z_zero=70.0),
]


def centres(geometry):
    """Coordinates of all voxel centres in reference pixels: z (D, 1, 1), y (1, H, 1), x (1, 1, W)."""
    px = geometry.reference_px
    z = (np.arange(geometry.depth) + 0.5 - geometry.z_zero) * geometry.spacing[0] * px
    xy = (np.arange(geometry.size) + 0.5) * px
    return z[:, None, None], xy[None, :, None], xy[None, None, :]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def centroid(mask, geometry):
    return np.array([(c * mask).sum() / mask.sum() for c in centres(geometry)])


def ellipsoid():
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=1.0)
    radii, centre = np.array([31.3, 40.7, 25.2]), np.array([61.23, 66.71, 1.37])

    def inside(z, y, x):
        return sum(((c - m) / r) ** 2 for c, m, r in zip((x, y, z), centre, radii, strict=True)) < 1

    return mesh.vertices * radii + centre, mesh.faces, inside


def sphere():
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=29.9)
    centre = np.array([64.0, 64.0, 0.0])
    return mesh.vertices + centre, mesh.faces, lambda z, y, x: (x - 64) ** 2 + (y - 64) ** 2 + z**2 < 29.9**2


def torus():
    mesh = trimesh.creation.torus(major_radius=40.0, minor_radius=13.0, major_sections=180, minor_sections=90)
    return (
        mesh.vertices + np.array([65.4, 62.1, -2.6]),
        mesh.faces,
        lambda z, y, x: (np.hypot(x - 65.4, y - 62.1) - 40) ** 2 + (z + 2.6) ** 2 < 13**2,
    )


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda g: g.key)
@pytest.mark.parametrize("solid", [sphere, ellipsoid, torus])
@pytest.mark.parametrize("flipped", [False, True])
def test_agrees_with_formulas(solid, geometry, flipped):
    vertices, triangles, inside = solid()
    volume = voxelise(vertices, triangles[:, ::-1] if flipped else triangles, geometry)
    assert volume.shape == geometry.shape
    assert set(np.unique(volume)) == {0, 255}
    expected = inside(*centres(geometry))
    assert iou(volume > 0, expected) >= 0.99
    # Half a grid pixel is the error that a wrong centre convention makes; allow a twentieth.
    bias_px = (centroid(volume > 0, geometry) - centroid(expected, geometry)) / geometry.reference_px
    assert np.abs(bias_px).max() < 0.05


def test_agrees_with_an_independent_library():
    """A head-like bumpy closed shape against trimesh's ray test at random voxel centres."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    wave = 1 + 0.25 * np.sin(5 * mesh.vertices[:, 0]) * np.cos(4 * mesh.vertices[:, 1] + 1)
    mesh.vertices = mesh.vertices * wave[:, None] * [28, 40, 30] + [64, 64, 0]
    geometry = VolumeGeometry()
    volume = voxelise(mesh.vertices, mesh.faces, geometry)
    rng = np.random.default_rng(3)
    k, y, x = rng.integers((0, 0, 0), geometry.shape, (4000, 3)).T
    points = np.stack([x + 0.5, y + 0.5, (k + 0.5 - geometry.z_zero) * geometry.spacing[0]], 1)
    agree = mesh.contains(points) == (volume[k, y, x] > 0)
    assert volume[k, y, x].any()
    assert agree.mean() >= 0.999


@pytest.mark.parametrize("cuts", [0, 5], ids=["coarse", "finer than the grid"])
@pytest.mark.parametrize(("depth_px", "slices"), [(12, 12), (198, 198), (200, 200), (400, 200)])
def test_edges_through_pixel_centres_fill_like_any_other(cuts, depth_px, slices):
    """A box whose faces, edges and diagonals run through voxel centres: half-open, hence exact counts."""
    box = trimesh.creation.box(extents=(20, 30, depth_px))
    for _ in range(cuts):
        box = box.subdivide()
    volume = voxelise(
        box.vertices + np.array([64.5, 60.5, 0]), box.faces, VolumeGeometry(spacing=(1.0, 1.0, 1.0))
    )
    assert (volume > 0).sum() == 20 * 30 * slices
    assert (volume > 0).any((1, 2)).sum() == slices


def test_a_fan_of_slivers_around_a_pixel_centre_is_watertight():
    angle = np.linspace(0, 2 * np.pi, 361)[:-1]
    ring = np.stack([64.5 + 20 * np.cos(angle), 64.5 + 20 * np.sin(angle), np.zeros(360)], 1)
    vertices = np.concatenate([ring, [[64.5, 64.5, 10], [64.5, 64.5, -10]]])
    i, j = np.arange(360), (np.arange(360) + 1) % 360
    triangles = np.concatenate(
        [np.stack([i, j, np.full(360, 360)], 1), np.stack([j, i, np.full(360, 361)], 1)]
    )
    volume = voxelise(vertices, triangles, VolumeGeometry())
    axis = volume[:, 64, 64] > 0
    assert axis.sum() == 60  # 20 px of depth in slices of 1/3 px
    for row in volume.reshape(200, -1).T:
        assert np.count_nonzero(np.diff(row.astype(int))) in (0, 2)


def test_overlapping_parts_are_a_union():
    vertices, triangles, inside = sphere()
    both = np.concatenate([vertices, vertices + np.array([20, 0, 0])])
    volume = voxelise(both, np.concatenate([triangles, triangles + len(vertices)]), VolumeGeometry())
    z, y, x = centres(VolumeGeometry())
    assert iou(volume > 0, inside(z, y, x) | inside(z, y, x - 20)) >= 0.99


@pytest.mark.parametrize("flipped", [False, True])
def test_an_open_mesh_is_closed_along_the_viewing_axis(flipped):
    """The front half of a sphere becomes a half ball: the plane of its smallest z closes it."""
    vertices, triangles, inside = sphere()
    front = triangles[(vertices[triangles][:, :, 2] >= -1e-9).all(1)]
    volume = voxelise(vertices, front[:, ::-1] if flipped else front, VolumeGeometry())
    z, y, x = centres(VolumeGeometry())
    assert iou(volume > 0, inside(z, y, x) & (z > 0)) >= 0.98


def test_mirroring_the_mesh_mirrors_the_volume():
    vertices, triangles, _ = ellipsoid()
    geometry = VolumeGeometry()
    mirrored = vertices * [-1, 1, 1] + [NETWORK_PX, 0, 0]
    a = voxelise(vertices, triangles, geometry)
    b = voxelise(mirrored, triangles, geometry)[:, :, ::-1]
    assert iou(a > 0, b > 0) > 0.9999


def test_outside_parts_are_cut_off():
    vertices, triangles, inside = sphere()
    shifted = vertices + np.array([-60, 50, 25])
    volume = voxelise(shifted, triangles, VolumeGeometry())
    z, y, x = centres(VolumeGeometry())
    assert iou(volume > 0, inside(z - 25, y - 50, x + 60)) >= 0.99


def test_nothing_to_fill():
    assert not voxelise(np.zeros((0, 3)), np.zeros((0, 3), int), VolumeGeometry()).any()
    flat = np.array([[10.0, 10, 0], [50, 10, 0], [90, 10, 0]])
    assert not voxelise(flat, np.array([[0, 1, 2]]), VolumeGeometry()).any()


@pytest.mark.parametrize(
    ("vertices", "triangles", "reason"),
    [
        ([[np.nan, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], "mesh-not-finite"),
        ([[1e9, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], "mesh-out-of-range"),
        ([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 3]], "mesh-bad-index"),
    ],
)
def test_bad_meshes_are_named(vertices, triangles, reason):
    with pytest.raises(SampleError) as caught:
        voxelise(np.array(vertices, float), np.array(triangles), VolumeGeometry())
    assert caught.value.reason == reason
