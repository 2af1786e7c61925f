"""Face metrics: a mesh against itself, moved, grown and hidden, by hand-derived figures."""

from __future__ import annotations

import numpy as np
import pytest
from surfaces import bumpy, surface_of

from facepipe.bench.stages import score_volume
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.truth import Topology, Truth
from facepipe.geometry.voxelise import voxelise
from facepipe.metrics.catalogue import METRICS
from facepipe.metrics.faces import (
    HIDDEN_BEHIND,
    MIN_LANDMARKS,
    compare_surfaces,
    depth_at,
    interocular_px,
    landmark_depth_nme,
    nme_pair,
    visible,
)
from facepipe.metrics.geometry import Occupancy, TrueFace, score_geometry
from facepipe.metrics.surface import Surface

D_PX = 40.0
GEOMETRIES = (VolumeGeometry(), VolumeGeometry(192, 200, (0.5, 1.0, 1.0), 100.0))


def landmarks() -> np.ndarray:
    """68 points of a plane z = 0, eyes `D_PX` apart, the others on a grid around them."""
    points = np.zeros((68, 3))
    points[:, 0] = 30.5 + np.arange(68) % 10 * 6
    points[:, 1] = 40.5 + np.arange(68) // 10 * 6
    points[36], points[45] = [44.5, 60.5, 0], [84.5, 60.5, 0]
    return points


# -- nme ------------------------------------------------------------------------------------------------


def test_a_mesh_against_itself_is_zero() -> None:
    surface = surface_of(bumpy())
    assert nme_pair(surface.vertices, surface, D_PX) == pytest.approx((0, 0), abs=1e-9)


@pytest.mark.parametrize("direction", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, -0.8)])
def test_a_mesh_moved_by_one_percent_of_d(direction) -> None:
    truth = surface_of(bumpy())
    moved = Surface(truth.vertices + 0.01 * D_PX * np.array(direction), truth.triangles)
    nme, nme_icp = nme_pair(truth.vertices, moved, D_PX)
    assert nme == pytest.approx(0.01, rel=1e-3)
    assert nme_icp == pytest.approx(0, abs=1e-5)


def test_a_grown_mesh_keeps_its_error_after_alignment() -> None:
    truth = surface_of(bumpy())
    centre = truth.vertices.mean(axis=0)
    grown = Surface(centre + 1.05 * (truth.vertices - centre), truth.triangles)
    nme, nme_icp = nme_pair(truth.vertices, grown, D_PX)
    # The radius grows by 5 % of about 20 px; nearest points are at most that far.
    assert 0.5 * 0.05 * 20 / D_PX < nme_icp <= nme < 1.2 * 0.05 * 20 / D_PX


# -- landmarks ------------------------------------------------------------------------------------------


def flat(z: float, size: int = NETWORK_PX) -> np.ndarray:
    return np.full((size, size), z)


def test_interocular_distance_is_three_dimensional() -> None:
    points = landmarks()
    points[45, 2] = 30
    assert interocular_px(points) == pytest.approx(50)
    assert interocular_px(points[:, :2]) == pytest.approx(40)


def test_an_offset_in_depth_is_no_landmark_error() -> None:
    assert landmark_depth_nme(landmarks(), flat(17.0), flat(0.0)) == pytest.approx(0, abs=1e-12)


def test_landmark_error_by_hand() -> None:
    points = landmarks()
    # 20 of the inner 51 lie 2 px deeper than the surface, 31 on it: the median is 0.
    points[17:36, 2] = -2
    points[46, 2] = -2
    expected = 20 * 2 / 51 / D_PX
    assert landmark_depth_nme(points, flat(0.0), None) == pytest.approx(expected)


def test_hidden_landmarks_do_not_count_where_the_truth_has_a_surface() -> None:
    points = landmarks()
    hidden_px = HIDDEN_BEHIND * D_PX
    points[20, 2] = -(hidden_px + 0.1)
    assert landmark_depth_nme(points, flat(0.0), flat(0.0)) == pytest.approx(0, abs=1e-12)
    assert landmark_depth_nme(points, flat(0.0), None) == pytest.approx((hidden_px + 0.1) / 51 / D_PX)
    points[20, 2] = -(hidden_px - 0.1)
    assert landmark_depth_nme(points, flat(0.0), flat(0.0)) == pytest.approx((hidden_px - 0.1) / 51 / D_PX)


def test_landmarks_outside_the_predicted_silhouette_do_not_count() -> None:
    points = landmarks()
    points[17, 2] = -30
    depth = flat(0.0)
    depth[int(points[17, 1]), int(points[17, 0])] = np.nan
    assert landmark_depth_nme(points, depth, None) == pytest.approx(0, abs=1e-12)
    assert landmark_depth_nme(points, flat(np.nan), None) is None
    few = flat(np.nan)
    for x, y, _ in points[17 : 17 + MIN_LANDMARKS - 1]:
        few[int(y), int(x)] = 0.0
    assert landmark_depth_nme(points, few, None) is None


def test_the_jaw_does_not_count() -> None:
    points = landmarks()
    points[:17, 2] = 1000
    assert landmark_depth_nme(points, flat(0.0), None) == pytest.approx(0, abs=1e-12)


def test_depth_is_bilinear_between_pixel_centres() -> None:
    depth = np.add.outer(10.0 * np.arange(4), np.arange(5))
    points = np.array([[0.5, 0.5], [2.5, 3.5], [2.0, 1.0], [-0.1, 1], [5.0, 1], [4.9, 0.1]])
    np.testing.assert_allclose(depth_at(depth, points), [0, 32, 1.5 + 5, np.nan, np.nan, 4])
    depth[0, 0] = np.nan
    np.testing.assert_allclose(depth_at(depth, np.array([[0.5, 0.5], [1.0, 0.9]])), [np.nan, 1.0])


# -- surfaces -------------------------------------------------------------------------------------------


def plane(z: float, slope: float = 0.0) -> Surface:
    x, y = np.meshgrid(np.arange(41.0), np.arange(41.0))
    vertices = np.stack([x, y, z + slope * x], axis=-1).reshape(-1, 3)
    corner = (np.arange(40)[:, None] * 41 + np.arange(40)).ravel()
    # Counter-clockwise seen from the camera with y down: outward is toward the camera.
    return Surface(
        vertices,
        np.concatenate(
            [
                np.stack([corner, corner + 41, corner + 1], axis=1),
                np.stack([corner + 1, corner + 41, corner + 42], axis=1),
            ]
        ),
    )


@pytest.mark.parametrize(("gap", "fscore"), [(0.0, 1.0), (0.39, 1.0), (0.41, 0.0), (3.0, 0.0)])
def test_parallel_planes(gap: float, fscore: float) -> None:
    pred, true = plane(gap), plane(0.0)
    scores = compare_surfaces(pred, pred.sample(2000, 0), true, true.sample(2000, 1), D_PX)
    assert scores.chamfer_rel == pytest.approx(gap / D_PX)
    assert scores.fscore == fscore
    assert scores.normal_deg == pytest.approx(0, abs=1e-4)


def test_a_tilted_plane_gives_its_angle() -> None:
    pred, true = plane(0.0, np.tan(np.radians(10))), plane(0.0)
    scores = compare_surfaces(pred, pred.sample(2000, 0), true, true.sample(2000, 1), D_PX)
    assert scores.normal_deg == pytest.approx(10, abs=1e-3)


def test_half_of_the_points_found_gives_two_thirds() -> None:
    near, true = plane(0.0), plane(0.0)
    points = true.sample(2000, 0)
    half = points.keep(points.points[:, 0] < 20)
    lifted = plane(0.0)
    lifted.vertices[:, 2] = np.where(lifted.vertices[:, 0] > 20, 5.0, 0.0)
    scores = compare_surfaces(lifted, half, true, near.sample(20000, 0), D_PX)
    assert scores.fscore == pytest.approx(2 * 0.5 / 1.5, abs=0.02)


def test_what_the_camera_sees() -> None:
    points = np.array([[5.2, 5.5, 3.0], [5.2, 5.5, 2.1], [5.2, 5.5, 1.9], [5.2, 5.5, -9], [50, 5, -9]])
    assert visible(points, flat(3.0, 10), 1.0, 1.0).tolist() == [True, True, False, False, True]


# -- the whole ------------------------------------------------------------------------------------------


def head(scale: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> tuple[Truth, Topology]:
    mesh = bumpy(radius=22.0 * scale)
    vertices = mesh.vertices + np.array([64, 64, 0])
    points = np.repeat(vertices.mean(axis=0)[None], 68, axis=0)
    points[36], points[45] = points[36] - [D_PX / 2, 0, 0], points[45] + [D_PX / 2, 0, 0]
    triangles = mesh.faces[:, ::-1].astype(np.int32)
    truth = Truth("dense", (vertices + shift).astype(np.float32), points.astype(np.float32))
    return truth, Topology(triangles, triangles, np.arange(len(vertices), dtype=np.int32))


def score(
    volume: np.ndarray,
    geometry: VolumeGeometry,
    truth: Truth,
    topology: Topology | None,
    truth_volume: np.ndarray | None,
) -> dict[str, float | None]:
    true = TrueFace.of(truth, topology, truth_volume, geometry)
    return score_geometry(volume, Occupancy.of(volume, geometry), true)


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: geometry.key)
def test_the_truth_itself_scores_near_perfect(geometry: VolumeGeometry) -> None:
    truth, topology = head()
    volume = voxelise(truth.vertices, topology.solid, geometry)
    scores = score(volume, geometry, truth, topology, volume)
    assert scores["iou"] == scores["coverage"] == 1.0
    assert scores["depth_rmse_px"] == 0.0
    assert scores["nme"] < 0.01
    assert scores["nme_icp"] <= scores["nme"]
    assert scores["chamfer_rel"] < 0.008
    assert scores["fscore_1pct"] > 0.85


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=lambda geometry: geometry.key)
def test_a_shift_in_depth_shows_in_reference_pixels_whatever_the_grid(geometry: VolumeGeometry) -> None:
    truth, topology = head()
    nearer, _ = head(shift=(0, 0, 2.0))
    true_volume = voxelise(truth.vertices, topology.solid, geometry)
    volume = voxelise(nearer.vertices, topology.solid, geometry)
    scores = score(volume, geometry, truth, topology, true_volume)
    assert scores["depth_rmse_px"] == pytest.approx(2.0, abs=0.2)
    assert scores["nme"] == pytest.approx(2.0 / D_PX, abs=0.01)
    assert scores["nme_icp"] < 0.01
    assert scores["fscore_1pct"] < 0.5


def test_columns_follow_the_kind_of_truth() -> None:
    truth, topology = head()
    geometry = VolumeGeometry()
    volume = voxelise(truth.vertices, topology.solid, geometry)
    dense = set(score(volume, geometry, truth, topology, volume))
    image_columns = {"psnr_db", "ssim", "ref_iou", "ref_depth_rmse_px"}
    assert dense == METRICS.keys() - image_columns
    points = truth.landmarks
    assert score(volume, geometry, Truth("landmarks3d", None, points), None, None).keys() == {
        "landmark_depth_nme"
    }
    assert score(volume, geometry, Truth("landmarks2d", None, points[:, :2]), None, None) == {}
    assert score(volume, geometry, Truth(), None, None) == {}


def test_an_empty_prediction_finds_nothing() -> None:
    truth, topology = head()
    geometry = VolumeGeometry()
    volume = voxelise(truth.vertices, topology.solid, geometry)
    scores = score(np.zeros_like(volume), geometry, truth, topology, volume)
    assert {name: value for name, value in scores.items() if value is not None} == {
        "iou": 0.0, "coverage": 0.0, "fscore_1pct": 0.0,
    }  # fmt: skip


def test_the_catalogue_says_which_landmarks_count() -> None:
    """A surface at z = 0 with 20 of the 51 landmarks behind it: wrong by half of d, if they count."""
    points = landmarks()
    points[48:, 2] = -D_PX / 2
    surface = np.zeros((NETWORK_PX, NETWORK_PX))
    assert landmark_depth_nme(points, surface, surface) == 0
    assert landmark_depth_nme(points, surface, None) == pytest.approx(0.5 * 20 / 51)
    formula = METRICS["landmark_depth_nme"].formula
    assert f"null with fewer than {MIN_LANDMARKS};" in formula
    assert "without a dense true surface (`truth` is landmarks3d) hidden ones count" in formula


def test_an_empty_volume_of_the_reference_is_nothing_to_compare_with() -> None:
    truth, topology = head()
    geometry = VolumeGeometry()
    volume = voxelise(truth.vertices, topology.solid, geometry)
    empty = np.zeros_like(volume)
    for restored, reference, expected in (
        (empty, empty, (None, None)),
        (volume, empty, (None, None)),
        (empty, volume, (0.0, None)),
        (volume, volume, (1.0, 0.0)),
    ):
        scores = score_volume(restored, Occupancy.of(reference, geometry), TrueFace(geometry))
        assert (scores["ref_iou"], scores["ref_depth_rmse_px"]) == expected
