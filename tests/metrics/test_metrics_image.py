"""PSNR and SSIM against scikit-image, hand-derived values and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from facepipe.metrics.image import psnr_db, ssim


def noise(seed: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def test_psnr_of_a_uniform_error_of_one_grey_level() -> None:
    reference = np.full((8, 8, 3), 100, np.uint8)
    assert psnr_db(reference, reference + np.uint8(1)) == pytest.approx(20 * math.log10(255))


def test_psnr_of_black_against_white_is_zero() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr_db(black, black + np.uint8(255)) == 0.0


def test_equal_images_give_the_bounds() -> None:
    image = noise(0)
    assert psnr_db(image, image) == math.inf
    assert ssim(image, image) == 1.0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40))
def test_equal_to_scikit_image(seed: int, side: int) -> None:
    reference = noise(seed, side)
    image = np.clip(reference + np.random.default_rng(seed).normal(0, 20, reference.shape), 0, 255)
    image = image.astype(np.uint8)
    assert psnr_db(reference, image) == pytest.approx(peak_signal_noise_ratio(reference, image), abs=1e-9)
    assert ssim(reference, image) == pytest.approx(
        structural_similarity(reference, image, channel_axis=-1), abs=1e-12
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(7, 40), st.integers(7, 40), st.integers(0, 255))
def test_equal_to_scikit_image_where_images_are_flat(seed: int, height: int, width: int, grey: int) -> None:
    # Flat windows have no variance: there rounding of the sums would show.
    rng = np.random.default_rng(seed)
    reference = np.full((height, width, 3), grey, np.uint8)
    image = reference.copy()
    image[: height // 2] = rng.integers(0, 256, 3)
    image[rng.random(image.shape) < 0.02] ^= 255
    assert ssim(reference, image) == pytest.approx(
        structural_similarity(reference, image, channel_axis=-1), abs=1e-9
    )


def test_images_smaller_than_the_window_have_no_similarity() -> None:
    with pytest.raises(ValueError, match="6 x 9 px"):
        ssim(np.zeros((6, 9, 3), np.uint8), np.zeros((6, 9, 3), np.uint8))


def test_parts_of_larger_arrays_are_read_as_they_are() -> None:
    reference, image = noise(1, 40)[3:33, 5:36], noise(2, 40)[3:33, 5:36]
    assert ssim(reference, image) == ssim(reference.copy(), image.copy())
    assert psnr_db(reference, image) == psnr_db(reference.copy(), image.copy())


def test_psnr_is_symmetric_and_falls_with_noise() -> None:
    rng = np.random.default_rng(1)
    reference = np.full((32, 32, 3), 128, np.uint8)
    images = [np.clip(reference + rng.normal(0, s, reference.shape), 0, 255) for s in (2, 8, 32)]
    values = [psnr_db(reference, image.astype(np.uint8)) for image in images]
    assert values == sorted(values, reverse=True)
    assert values[0] == psnr_db(images[0].astype(np.uint8), reference)


@pytest.mark.parametrize("metric", [psnr_db, ssim])
@pytest.mark.parametrize(
    ("reference", "image"),
    [
        (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8)),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)),
    ],
)
def test_wrong_arrays_are_refused(metric, reference, image) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 RGB|differ in shape"):
        metric(reference, image)
