"""Volume IoU, front surfaces and the catalogue: hand-derived values and limits."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from facepipe.core.schema import METRIC_COLUMNS
from facepipe.geometry.kernels import foremost_inside
from facepipe.metrics.catalogue import METRICS, as_markdown
from facepipe.metrics.geometry import front_surface_errors, volume_iou


def box(start: int, stop: int, value: int = 255) -> np.ndarray:
    volume = np.zeros((10, 4, 4), np.uint8)
    volume[start:stop] = value
    return volume


def test_iou_of_overlapping_boxes() -> None:
    assert volume_iou(box(0, 6), box(3, 9)) == 3 / 9
    assert volume_iou(box(0, 6), box(6, 9)) == 0.0
    assert volume_iou(box(2, 5), box(2, 5)) == 1.0


def test_iou_of_two_spheres_with_known_overlap() -> None:
    z, y, x = np.mgrid[:64, :64, :64] + 0.5
    radius, shift = 20.0, 10.0
    ball = [((x - c) ** 2 + (y - 32) ** 2 + (z - 32) ** 2 <= radius**2) for c in (27.0, 37.0)]
    lens = math.pi * (4 * radius + shift) * (2 * radius - shift) ** 2 / 12
    full = 4 / 3 * math.pi * radius**3
    a, b = ((inside * 255).astype(np.uint8) for inside in ball)
    assert volume_iou(a, b) == pytest.approx(lens / (2 * full - lens), abs=0.005)


def test_iou_threshold_is_half() -> None:
    assert volume_iou(box(0, 4, 128), box(0, 4)) == 1.0
    assert volume_iou(box(0, 4, 127), box(0, 4)) == 0.0


def test_iou_of_nothing_with_nothing_is_one_and_shapes_must_agree() -> None:
    assert volume_iou(box(0, 0), box(0, 0)) == 1.0
    with pytest.raises(ValueError, match="cannot be compared"):
        volume_iou(box(0, 3), box(0, 3)[1:])


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3)), st.integers(0, 2**32 - 1))
def test_iou_equals_that_of_numpy_to_the_last_bit(a: np.ndarray, seed: int) -> None:
    b = np.random.default_rng(seed).integers(0, 256, a.shape, np.uint8)
    both, either = (a >= 128) & (b >= 128), (a >= 128) | (b >= 128)
    assert volume_iou(a, b) == (both.sum() / either.sum() if either.any() else 1.0)
    assert volume_iou(a[::-1], b[::-1]) == volume_iou(a, b)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, st.tuples(*[st.integers(1, 9)] * 3)))
def test_the_foremost_voxel_inside_equals_that_of_numpy(volume: np.ndarray) -> None:
    inside = volume >= 128
    last = len(volume) - 1 - np.argmax(inside[::-1], axis=0)
    np.testing.assert_array_equal(foremost_inside(volume), np.where(inside.any(axis=0), last, 0))


def test_front_surface_offset_and_coverage() -> None:
    true = np.full((4, 5), np.nan)
    true[:, 1:] = 2.0
    pred = np.full((4, 5), np.nan)
    pred[:, :3] = 5.0
    pred[0, 1] = 1.0
    rmse_px, coverage = front_surface_errors(pred, true)
    assert rmse_px == pytest.approx(math.sqrt((7 * 9 + 1) / 8))
    assert coverage == 8 / 16


def test_front_surface_limits() -> None:
    nothing = np.full((3, 3), np.nan)
    surface = np.ones((3, 3))
    assert front_surface_errors(surface, surface) == (0.0, 1.0)
    assert front_surface_errors(nothing, surface) == (None, 0.0)
    assert front_surface_errors(surface, nothing) == (None, None)
    with pytest.raises(ValueError, match="differ in shape"):
        front_surface_errors(surface, surface[1:])


def test_the_catalogue_describes_every_column_in_order() -> None:
    assert tuple(METRICS) == METRIC_COLUMNS
    for metric in METRICS.values():
        assert metric.formula
        assert metric.source
        assert metric.unit == next(
            (u for u in ("db", "px", "deg") if metric.name.endswith(f"_{u}")), ""
        ).replace("db", "dB")
        best = metric.high if metric.higher_is_better else metric.low
        assert best is not None or metric.name == "psnr_db"
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["nme"].unit = "m"  # type: ignore[misc]


def test_the_page_of_metrics_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
    assert page.read_text(encoding="utf-8") == as_markdown(), "write as_markdown() to docs/metrics.md"
