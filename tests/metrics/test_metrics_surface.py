"""Nearest points, spread points and rigid alignment: hand-derived answers, limits, an independent library."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from surfaces import bumpy, surface_of

from facepipe.metrics.alignment import align
from facepipe.metrics.nearest import VertexGrid
from facepipe.metrics.surface import Surface

TRIANGLE = Surface(np.array([[0, 0, 0], [4, 0, 0], [0, 3, 0.0]]), np.array([[0, 1, 2]]))


@pytest.mark.parametrize(
    ("point", "nearest"),
    [
        ((1, 1, 5), (1, 1, 0)),
        ((-1, -2, 1), (0, 0, 0)),
        ((9, -3, 0), (4, 0, 0)),
        ((-1, 7, 0), (0, 3, 0)),
        ((2, -1, 1), (2, 0, 0)),
        ((-2, 1, 0), (0, 1, 0)),
        # Beyond the long edge 3x + 4y = 12: from its point (2, 1.5) out along the normal (0.6, 0.8).
        ((2 + 0.6, 1.5 + 0.8, -2), (2, 1.5, 0)),
    ],
)
def test_nearest_point_in_every_region_of_a_triangle(point, nearest) -> None:
    found = TRIANGLE.closest(np.array([point], float))
    np.testing.assert_allclose(found.points[0], nearest, atol=1e-12)
    np.testing.assert_allclose(found.weights[0] @ TRIANGLE.vertices, nearest, atol=1e-12)


def test_nearest_points_equal_those_of_trimesh() -> None:
    mesh = bumpy()
    points = np.random.default_rng(1).normal(0, 20, (400, 3))
    expected, _, _ = trimesh.proximity.closest_point(mesh, points)
    gap = np.linalg.norm(points - surface_of(mesh).closest(points).points, axis=1)
    exact = np.linalg.norm(points - expected, axis=1)
    assert (gap >= exact - 1e-9).all()
    assert np.mean(np.abs(gap - exact) < 1e-6) > 0.97
    assert (gap - exact).max() < 0.3


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_points_of_a_surface_are_at_distance_zero(seed: int) -> None:
    surface = surface_of(bumpy(seed % 3))
    points = surface.sample(50, seed)
    np.testing.assert_allclose(surface.closest(points.points).points, points.points, atol=0.02)
    vertices = surface.vertices[seed % 100 :: 97]
    np.testing.assert_array_equal(surface.closest(vertices).points, vertices)


def test_points_are_spread_by_area() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [10, 0, 0], [13, 0, 0], [10, 2, 0.0]])
    points = Surface(corners, np.array([[0, 1, 2], [3, 4, 5]])).sample(7000, 3)
    # Areas 1/2 and 3: one seventh of the points lies on the first triangle, around its centroid.
    first = points.points[points.points[:, 0] < 5]
    assert len(first) == pytest.approx(1000, abs=2)
    np.testing.assert_allclose(first.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.03)
    np.testing.assert_array_equal(
        points.points, Surface(corners, np.array([[0, 1, 2], [3, 4, 5]])).sample(7000, 3).points
    )


def test_normals_point_outward_and_interpolate() -> None:
    sphere = surface_of(trimesh.creation.icosphere(subdivisions=4, radius=10.0))
    points = sphere.sample(500, 0)
    outward = points.points / np.linalg.norm(points.points, axis=1, keepdims=True)
    cosine = np.einsum("nd,nd->n", sphere.normals_at(points), outward)
    assert np.degrees(np.arccos(cosine.min())) < 1.0


@pytest.mark.parametrize("seed", range(4))
def test_alignment_undoes_a_rigid_motion(seed: int) -> None:
    rng = np.random.default_rng(seed)
    surface = surface_of(bumpy(seed))
    turn = Rotation.from_rotvec(np.radians(rng.uniform(-6, 6, 3))).as_matrix()
    shift = rng.uniform(-1.5, 1.5, 3)
    moved = surface.vertices @ turn.T + shift
    back = align(moved, surface)
    np.testing.assert_allclose(back.apply(moved), surface.vertices, atol=2e-3)
    np.testing.assert_allclose(back.rotation @ back.rotation.T, np.eye(3), atol=1e-12)


def test_alignment_ignores_points_that_the_surface_does_not_have() -> None:
    surface = surface_of(bumpy())
    shift = np.array([0.5, -0.4, 0.3])
    stray = np.random.default_rng(0).normal(0, 1, (100, 3)) + np.array([60, 0, 0])
    found = align(np.concatenate([surface.vertices + shift, stray]), surface)
    np.testing.assert_allclose(found.apply(surface.vertices + shift), surface.vertices, atol=0.05)


@pytest.mark.parametrize("seed", [1, 6, 10])
def test_alignment_never_ends_farther_away_than_it_began(seed: int) -> None:
    # Undamped, half of one body goes to and fro beside another one, or away from it.
    surface, other = surface_of(bumpy(seed)), surface_of(bumpy(seed + 20)).vertices
    half = other[other[:, 2] > 0]
    distance = lambda points: np.linalg.norm(points - surface.closest(points).points, axis=1).mean()  # noqa: E731
    assert distance(align(half, surface).apply(half)) < distance(half)


def test_walking_ends_at_the_nearest_vertex_of_a_convex_surface() -> None:
    sphere = surface_of(trimesh.creation.icosphere(subdivisions=4, radius=10.0))
    points = np.random.default_rng(2).normal(0, 10, (300, 3))
    far = np.zeros(300, np.int32)
    np.testing.assert_array_equal(sphere.walk(points, far), sphere.nearest_vertices(points))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0.1, 1.0, 30.0]),
    st.sampled_from([(1, 1, 1), (1, 1, 0), (9, 0, 0)]),
)
def test_the_nearest_vertex_is_that_of_a_k_d_tree(seed: int, spread: float, axes: tuple[int, ...]) -> None:
    """Points on, near and far from vertices that fill space, lie in a plane, or on a line."""
    rng = np.random.default_rng(seed)
    vertices = rng.normal(5, 10, (rng.integers(1, 400), 3)) * axes
    points = np.concatenate([vertices[:5], vertices[rng.integers(len(vertices), size=60)]])
    points[-60:] += rng.normal(0, spread, (60, 3))
    found = VertexGrid.of(vertices).nearest(points)
    distances = np.linalg.norm(points - vertices[found], axis=1)
    np.testing.assert_allclose(distances, cKDTree(vertices).query(points)[0], rtol=1e-12, atol=1e-12)


def test_points_that_are_nowhere_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        TRIANGLE.closest(np.array([[0, 0, np.nan]]))
