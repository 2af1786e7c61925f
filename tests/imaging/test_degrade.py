"""Degradations: the shared contract, and answers known beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.core.errors import UsageError
from facepipe.imaging.degrade import DEGRADATIONS, degrade, make_reference

SIZES = (16, 32, 64)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    generator = np.random.default_rng(3)
    smooth = generator.normal(0, 1, (9, 9, 3)).repeat(50, 0).repeat(50, 1)
    return np.clip(128 + 40 * smooth + generator.normal(0, 5, (450, 450, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
@pytest.mark.parametrize("px", SIZES)
class TestContract:
    def test_shape_and_type(self, name: str, px: int, photo: np.ndarray) -> None:
        image = degrade(photo, name, px, 0, "a/b")
        assert image.shape == (px, px, 3)
        assert image.dtype == np.uint8

    def test_same_seed_and_sample_same_image(self, name: str, px: int, photo: np.ndarray) -> None:
        assert np.array_equal(degrade(photo, name, px, 5, "a"), degrade(photo, name, px, 5, "a"))

    def test_a_flat_image_keeps_its_colour(self, name: str, px: int, photo: np.ndarray) -> None:
        flat = np.full((450, 450, 3), (200, 120, 60), np.uint8)
        mean = degrade(flat, name, px, 0, "a").reshape(-1, 3).mean(0)
        assert np.abs(mean - (200, 120, 60)).max() < 2.5

    def test_a_ramp_is_not_shifted(self, name: str, px: int, photo: np.ndarray) -> None:
        # Sampled at continuous coordinates, a ramp's column c has the value at (c + 0.5) * 448 / px.
        ramp = np.broadcast_to(np.rint(np.arange(448) * 0.5)[None, :, None], (448, 448, 3)).astype(np.uint8)
        images = [degrade(ramp, name, px, 0, f"sample {i}").astype(float) for i in range(12)]
        image = np.mean(images, (0, 1, 3))
        expected = ((np.arange(px) + 0.5) * 448 / px - 0.5) * 0.5
        inside = slice(px // 8, -px // 8)
        assert abs((image - expected)[inside].mean()) < 0.6

    def test_small_sources_are_enlarged(self, name: str, px: int, photo: np.ndarray) -> None:
        assert degrade(photo[:9, :9], name, px, 0, "a").shape == (px, px, 3)


def test_area_is_the_mean_of_whole_blocks() -> None:
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    blocks = crop.reshape(16, 4, 16, 4, 3).astype(float).mean((1, 3))
    assert np.abs(degrade(crop, "area", 16, 0, "a") - blocks).max() <= 0.5


def test_linear_is_aliased_and_area_is_not() -> None:
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(degrade(stripes, "area", 32, 0, "a")) <= 1
    checked = np.zeros((512, 512, 3), np.uint8)
    checked[:, 7::16] = 255
    assert degrade(checked, "linear", 32, 0, "a").min() > 120
    assert degrade(checked, "area", 32, 0, "a").max() < 20


def test_camera_differs_by_seed_and_sample(photo: np.ndarray) -> None:
    first = degrade(photo, "camera", 32, 0, "a")
    assert not np.array_equal(first, degrade(photo, "camera", 32, 1, "a"))
    assert not np.array_equal(first, degrade(photo, "camera", 32, 0, "b"))


def test_reference_is_at_network_size(photo: np.ndarray) -> None:
    assert make_reference(photo).shape == (128, 128, 3)
    square = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert np.array_equal(make_reference(square), square)


def test_unknown_name_gets_a_suggestion(photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match="did you mean 'bicubic'"):
        degrade(photo, "bicubik", 32, 0, "a")
