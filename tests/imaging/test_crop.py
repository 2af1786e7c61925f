"""Crops: exact on whole pixels, and exactly invertible."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facepipe.core.errors import SampleError
from facepipe.imaging.crop import MAX_CROP_PX, Crop, full_crop

finite = st.floats(-2000, 2000)


@given(x0=finite, y0=finite, size=st.floats(1, 5000), x=finite, y=finite, z=finite)
def test_round_trip(x0: float, y0: float, size: float, x: float, y: float, z: float) -> None:
    crop = Crop(x0, y0, size)
    points = np.array([[x, y, z]])
    assert np.abs(crop.to_source(crop.to_reference(points)) - points).max() < 1e-4
    assert np.abs(crop.to_source(crop.to_reference(points[:, :2])) - points[:, :2]).max() < 1e-4


def test_corners_of_the_crop_are_corners_of_the_reference() -> None:
    crop = Crop(-25.0, 0.0, 450.0)
    corners = crop.to_reference(np.array([[-25.0, 0.0, 0.0], [425.0, 450.0, 450.0]]))
    assert np.allclose(corners, [[0, 0, 0], [128, 128, 128]])


def test_full_crop_centres_and_pads_with_black() -> None:
    image = np.full((10, 4, 3), 9, np.uint8)
    crop = full_crop(4, 10)
    assert crop == Crop(-3.0, 0.0, 10.0)
    square = crop.cut(image)
    assert square.shape == (10, 10, 3)
    assert square[:, 3:7].min() == 9
    assert square[:, :3].max() == square[:, 7:].max() == 0


def test_a_square_image_is_itself() -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    assert np.array_equal(full_crop(12, 12).cut(image), image)


def test_a_crop_off_the_grid_is_resampled_where_it_lies() -> None:
    # A horizontal ramp whose value is the continuous coordinate of each pixel's centre.
    image = np.repeat((np.arange(100) + 0.5)[None, :, None], 100, 0).repeat(3, 2).astype(np.float32)
    square = Crop(20.5, 30.0, 40.0).cut(image.astype(np.uint8))
    expected = np.arange(40) + 20.5
    assert square.shape == (40, 40, 3)
    assert np.abs(square[5, :, 0] - expected).max() <= 0.51


def test_a_crop_outside_is_black() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    assert Crop(100.0, 100.0, 8.0).cut(image).max() == 0


def test_a_square_that_would_take_gigabytes_is_refused() -> None:
    image = np.zeros((1, 200_000, 3), np.uint8)
    with pytest.raises(SampleError, match="crop-too-large: a square of 200000 px"):
        full_crop(200_000, 1).cut(image)
    with pytest.raises(SampleError, match="crop-too-large"):
        Crop(0.25, 0.25, MAX_CROP_PX + 1.0).cut(image)
    full_crop(MAX_CROP_PX, 1).check_size()
