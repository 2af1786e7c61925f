"""How regressors are judged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.truth import Truth
from facepipe.lab.vrn.evaluate import (
    FITTED_HEAD,
    TRUTH_ITSELF,
    Case,
    Figures,
    compare,
    evaluate,
    factory_cases,
    fitted_volume,
    groups,
    mean_of,
    summarise,
)
from facepipe.metrics.geometry import volume_iou

GEOMETRY = VolumeGeometry()


def _slab(landmarks: NDArray[np.float32] | None) -> tuple[NDArray[np.uint8], Case]:
    """A prediction 20 slices thick over x 20..100, y 30..110; the truth's front is 6 slices = 2 px nearer."""
    predicted, true = np.zeros((2, *GEOMETRY.shape), np.uint8)
    predicted[80:100, 30:110, 20:100] = 255
    true[80:106, 30:110, 20:100] = 255
    return predicted, Case(np.zeros((128, 128, 3), np.uint8), Truth("landmarks3d", None, landmarks), true)


def test_figures_by_hand() -> None:
    """51 landmarks in a plane whose z rises by 0.1 px per px from left to right, over a flat prediction."""
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[17:, 0] = np.arange(51) + 30
    landmarks[17:, 1] = 70
    landmarks[17:, 2] = 0.1 * np.arange(51)
    landmarks[:17] = [20, 70, 0]
    landmarks[0], landmarks[1] = (10, 30, 0), (110, 130, 0)  # a box of 100 x 100 px
    figures = compare(*_swap(_slab(landmarks)))
    assert figures.iou == pytest.approx(20 / 26)
    assert figures.depth_rmse_px == pytest.approx(2.0)
    # |dz - median dz| = 0.1 |i - 25|, whose mean is 0.1 * 2 * (1 + ... + 25) / 51.
    expected = 0.1 * 650 / 51 / 100
    assert figures.landmark_depth_error == pytest.approx(expected, rel=1e-5)
    assert figures.flat_depth_error == pytest.approx(expected, rel=1e-5)
    assert figures.landmark_correlation is None  # a flat surface has none


def test_hidden_landmarks_count_in_the_published_error_only() -> None:
    """30 landmarks on the truth's front (z = 2 px), 21 of them 10 px behind it, over a flat prediction."""
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[17:, 0] = np.arange(51) + 30.5
    landmarks[17:, 1] = 70.5
    landmarks[17:, 2] = np.where(np.arange(51) < 30, 2, -8)
    landmarks[:17] = [20, 70, 0]
    landmarks[0], landmarks[1] = (10, 30, 0), (110, 130, 0)  # a box of 100 x 100 px
    predicted, case = _slab(landmarks)
    figures = compare(predicted, GEOMETRY, case)
    assert figures.landmark_depth_error == pytest.approx(21 * 10 / 51 / 100, rel=1e-5)
    assert figures.visible_depth_error == pytest.approx(0, abs=1e-6)
    assert figures.visible_correlation is None
    assert compare(predicted, GEOMETRY, replace(case, volume=None)).visible_depth_error is None
    tilted = np.array(landmarks)
    tilted[17:47, 2] = 2 + 0.01 * np.arange(30)  # seen: what lies before the surface is not hidden
    case = replace(case, truth=Truth("landmarks3d", None, tilted))
    # mean |0.01 (i - 14.5)| of 30 numbers is 0.01 * 7.5
    assert compare(predicted, GEOMETRY, case).visible_depth_error == pytest.approx(0.075 / 100, rel=1e-3)


def test_the_truth_is_judged_beside_the_network() -> None:
    predicted, case = _slab(None)
    cases = [replace(case, yaw_deg=-70.0), replace(case, low_px=16), replace(case, volume=None)]
    results = evaluate(lambda images: np.repeat(predicted[None], len(images), 0), GEOMETRY, cases)
    assert [(known.perfect, known.low_px) for known, _ in results] == [
        ("", None), (TRUTH_ITSELF, None), ("", 16), ("", None)
    ]  # fmt: skip
    assert all(known.volume is None for known, _ in results)
    tables = groups(results)
    assert tables["all"]["iou"].mean == pytest.approx(20 / 26)
    assert tables["all"]["iou"].n == 1
    assert tables["truth itself, all"]["iou"].mean == 1
    assert tables["truth itself, yaw to either side from 60"]["depth_rmse_px"].mean == 0


def _swap(pair: tuple[NDArray[np.uint8], Case]) -> tuple[NDArray[np.uint8], VolumeGeometry, Case]:
    return pair[0], GEOMETRY, pair[1]


def test_correlation_and_landmarks_outside_by_hand() -> None:
    """A staircase whose front follows the landmarks exactly, and half of the landmarks beside it."""
    volume = np.zeros(GEOMETRY.shape, np.uint8)
    for column in range(30, 60):
        volume[50 : 100 + column, 40:100, column] = 255
    landmarks = np.zeros((68, 3), np.float32)
    landmarks[:, 0] = np.arange(68) + 0.5
    landmarks[:, 1] = 70.5
    landmarks[0, 1], landmarks[1, 1] = 40.5, 107.5
    landmarks[:, 2] = np.arange(68) / 3
    landmarks[62:, 2] = 1000  # outside of the silhouette: no matter
    case = Case(np.zeros((128, 128, 3), np.uint8), Truth("landmarks3d", None, landmarks))
    figures = compare(volume, GEOMETRY, case)
    assert figures.landmark_correlation == pytest.approx(1.0)
    assert figures.landmark_depth_error == pytest.approx(0.0, abs=1e-6)
    # z of landmarks 30..59 is i / 3; mean |i - median| of 30 numbers is 7.5; the box is 67 x 67 px.
    assert figures.flat_depth_error == pytest.approx(7.5 / 3 / 67)
    assert figures.iou is None
    few = np.array(landmarks)
    few[:, 0] += 60
    assert compare(volume, GEOMETRY, replace(case, truth=Truth("landmarks3d", None, few))) == Figures(
        hull_coverage=0.0, landmarks_inside=0.0
    )
    # Of landmarks 17..67, 30..59 are inside.
    assert figures.landmarks_inside == pytest.approx(30 / 51)


def test_hull_coverage_by_hand() -> None:
    """The hull is the square x 10..60, y 40..90; the silhouette begins at x = 20 and covers 4/5 of it."""
    corners = np.array([[10, 40], [60, 40], [60, 90], [10, 90]], np.float32)
    landmarks = np.tile(corners, (17, 1))
    _, case = _slab(None)
    figures = compare(case.volume, GEOMETRY, replace(case, truth=Truth("landmarks2d", None, landmarks)))
    assert figures.hull_coverage == pytest.approx(0.8, abs=0.02)
    assert figures.iou == 1.0
    assert figures.landmark_depth_error is None


def test_means_and_intervals() -> None:
    mean = mean_of(np.array([1.0, 2.0, 3.0]))
    assert mean.mean == 2.0
    assert 1.0 <= mean.low < 2.0 < mean.high <= 3.0
    same = mean_of(np.full(5, 0.25))
    assert (same.low, same.high, same.n) == (0.25, 0.25, 5)
    rng = np.random.default_rng(1)
    wide = mean_of(rng.normal(0, 1, 400))
    assert (wide.high - wide.low) == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert list(summarise([Figures(iou=0.5), Figures(iou=0.7, hull_coverage=1.0)])) == [
        "iou",
        "hull_coverage",
    ]


def test_groups() -> None:
    blank = Case(np.zeros((128, 128, 3), np.uint8), Truth())
    results = [
        (replace(blank, yaw_deg=yaw, skin_tone=tone), Figures(iou=iou))
        for yaw, tone, iou in (
            (-10.0, 0.0, 0.9), (29.0, 1.0, 0.7), (-30.0, None, 0.6), (180.0, 0.32, 0.4), (None, 0.5, 0.1)
        )
    ]  # fmt: skip
    tables = {name: table["iou"].mean for name, table in groups(results).items()}
    assert tables == pytest.approx(
        {
            "all": 0.54,
            "yaw to either side below 30": 0.8,
            "yaw to either side 30 to 60": 0.6,
            "yaw to either side from 60": 0.4,
            "skin tone below 0.33": 0.65,
            "skin tone 0.33 to 0.67": 0.1,
            "skin tone from 0.67": 0.7,
        }
    )
    assert list(groups([(blank, Figures(iou=1.0))])) == ["all"]
    low = [(blank, Figures(iou=1.0)), (replace(blank, low_px=16), Figures(iou=0.5))]
    low.append((replace(blank, low_px=16, degradation="camera"), Figures(iou=0.25)))
    tables = {name: table["iou"].mean for name, table in groups(low).items()}
    assert tables == {"all": 1.0, "area 16 px, bilinear": 0.5, "camera 16 px, bilinear": 0.25}


def test_grey_pictures_and_parts_of_a_data_set_are_told_apart() -> None:
    blank = Case(np.zeros((128, 128, 3), np.uint8), Truth())
    results = [
        (replace(blank, grey=grey, subset=subset), Figures(iou=iou))
        for grey, subset, iou in ((False, "a", 0.9), (True, "a", 0.5), (None, "b", 0.1))
    ]
    tables = {name: table["iou"].mean for name, table in groups(results).items()}
    assert tables == pytest.approx(
        {"all": 0.5, "picture in colours": 0.9, "picture in grey": 0.5, "part a": 0.7, "part b": 0.1}
    )
    assert "part a" not in groups(results[:2])


def test_low_resolutions_are_made_of_what_is_given() -> None:
    """Stripes of half a reference pixel fade under `area`, and a ramp keeps its place."""
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, ::2] = 200
    blank = Case(np.zeros((128, 128, 3), np.uint8), Truth())
    area = blank.lowered(stripes, ("area", 64), "a")
    assert (area.low_px, area.degradation, area.image.shape) == (64, "area", (128, 128, 3))
    np.testing.assert_allclose(area.image, 100, atol=1)
    smooth = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0), 3, 2)
    ramp = blank.lowered(smooth, ("area", 64), "a").image[64, :, 0].astype(float)
    np.testing.assert_allclose(ramp[2:-2], np.arange(128)[2:-2] * 2 + 0.5, atol=1.1)


def test_options_about_data_sets_are_refused_with_faces() -> None:
    for option in (["--limit", "1"], ["--crop", "face"]):
        result = CliRunner().invoke(facepipe, ["models", "evaluate", "vrn-compact", "--faces", "1", *option])
        assert isinstance(result.exception, UsageError)
        assert f"{option[0]} is about --dataset" in str(result.exception)


def test_faces_for_tests_agree_with_their_own_volume() -> None:
    case = next(factory_cases(1, GEOMETRY))
    assert case.volume is not None
    figures = compare(case.volume, GEOMETRY, case)
    assert figures.iou == 1.0
    assert figures.depth_rmse_px == 0.0
    assert figures.landmark_depth_error < 0.03
    assert figures.hull_coverage > 0.95


def test_a_perfect_volume_errs_at_hidden_landmarks() -> None:
    """The published error of the truth itself grows with the turn of the head; the visible one does not."""
    results = [
        (case, compare(case.volume, GEOMETRY, case))
        for case in factory_cases(12, GEOMETRY)
        if case.volume is not None
    ]
    turned = [figures for case, figures in results if abs(case.yaw_deg) > 45]
    frontal = [figures for case, figures in results if abs(case.yaw_deg) < 30]
    assert turned and frontal
    published = [np.mean([one.landmark_depth_error for one in group]) for group in (frontal, turned)]
    seen = [np.mean([one.visible_depth_error for one in group]) for group in (frontal, turned)]
    assert published[1] > 3 * published[0]
    assert max(seen) < 0.025
    assert all(one.visible_correlation > 0.95 for _, one in results)


def test_the_head_that_goes_with_landmarks_stands_for_the_truth() -> None:
    """Of drawn faces it has nearly the volume, and the published figures to a hundredth."""
    for case in factory_cases(6, GEOMETRY):
        fitted = fitted_volume(case.truth, GEOMETRY)
        photo = replace(case, volume=None, fitted=fitted)
        (_, figures), (known, of_fit) = evaluate(lambda _, case=case: case.volume[None], GEOMETRY, [photo])
        assert known.perfect == FITTED_HEAD
        assert known.fitted is None
        assert volume_iou(fitted, case.volume) > 0.93
        assert of_fit.landmark_depth_error == pytest.approx(figures.landmark_depth_error, abs=0.01)
        assert of_fit.hull_coverage == pytest.approx(figures.hull_coverage, abs=0.01)
    tables = groups([(known, of_fit)])
    assert tables["head fitted to the landmarks, all"]["hull_coverage"].mean == of_fit.hull_coverage
    assert not tables["all"]


def test_landmarks_that_no_head_goes_with() -> None:
    assert fitted_volume(Truth("none"), GEOMETRY) is None
    assert fitted_volume(Truth("landmarks2d", None, np.ones((68, 2), np.float32)), GEOMETRY) is None
    assert fitted_volume(Truth("landmarks3d", None, np.ones((68, 3), np.float32)), GEOMETRY) is None
    (case,) = factory_cases(1, GEOMETRY)
    absurd = case.truth.landmarks * (1, 1, 1000)
    assert fitted_volume(Truth("landmarks3d", None, absurd), GEOMETRY) is None


def test_data_without_truth_is_no_success(tmp_path: Path) -> None:
    Image.new("RGB", (140, 140), (200, 120, 90)).save(tmp_path / "a.png")
    arguments = ["models", "evaluate", "vrn-compact", "--dataset", str(tmp_path)]
    result = CliRunner().invoke(facepipe, arguments)
    assert isinstance(result.exception, FacepipeError)
    assert result.exception.exit_status == 1
    assert "nothing is known about the faces of its 1 samples" in str(result.exception)
    assert result.stdout == ""


def test_the_shipped_regressor_on_real_photos(real_data: Path) -> None:
    """Better than a flat face, and the whole face is there."""
    arguments = ["models", "evaluate", "vrn-compact", "--dataset", str(real_data / "aflw2000"), "--json"]
    result = CliRunner().invoke(facepipe, arguments, catch_exceptions=False)
    tables = json.loads(result.stdout)
    figures, perfect = tables["all"], tables["head fitted to the landmarks, all"]
    assert figures["landmark_depth_error"]["images"] == 8
    assert perfect["landmark_depth_error"]["value"] == pytest.approx(0.039, abs=0.003)
    assert perfect["hull_coverage"]["value"] > 0.97
    assert figures["landmark_depth_error"]["value"] < 0.062
    assert figures["landmark_depth_error"]["value"] < 0.65 * figures["flat_depth_error"]["value"]
    assert figures["landmark_correlation"]["value"] > 0.77
    assert figures["hull_coverage"]["value"] > 0.965
