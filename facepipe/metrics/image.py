"""Metrics of images: PSNR and SSIM against the reference."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

PEAK = 255.0
"""Largest grey level of an image: the peak of PSNR and the data range of SSIM."""

WINDOW = 7
"""Side of SSIM's uniform window, pixels."""

_CHANNELS = 3
_COUNT = WINDOW * WINDOW
# K1 = 0.01 and K2 = 0.03 of Wang et al.; means and covariances below are multiplied by n^2 and n (n - 1),
# so that they are whole numbers.
_C1 = (0.01 * PEAK) ** 2 * _COUNT**2
_C2 = (0.03 * PEAK) ** 2 * _COUNT * (_COUNT - 1)


def psnr_db(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio over all pixels and channels, in dB; infinite for equal images.

    10 log10(255^2 / MSE), the value of scikit-image's `peak_signal_noise_ratio` on uint8.

    Args:
        reference: uint8 RGB (H, W, 3).
        image: uint8 RGB of the same shape.

    Raises:
        ValueError: the shapes or types differ from that.
    """
    _check_pair(reference, image)
    total = _squared_difference(np.ascontiguousarray(reference).ravel(), np.ascontiguousarray(image).ravel())
    return math.inf if total == 0 else 10 * math.log10(PEAK**2 / (total / reference.size))


def ssim(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004), mean over pixels and channels; 1 for equal images.

    The value of scikit-image's `structural_similarity` with its defaults (7 x 7 uniform window, sample
    covariance) and ``channel_axis=-1``, from sums of whole numbers and therefore without rounding before
    the last division.

    Args:
        reference: uint8 RGB (H, W, 3), H and W at least `WINDOW`.
        image: uint8 RGB of the same shape.

    Raises:
        ValueError: the shapes or types differ from that, or the images are smaller than the window.
    """
    _check_pair(reference, image)
    height, width = reference.shape[:2]
    if min(height, width) < WINDOW:
        raise ValueError(f"images of {height} x {width} px: SSIM needs {WINDOW} x {WINDOW} px at least")
    rows = (np.ascontiguousarray(array).reshape(height, -1) for array in (reference, image))
    return float(_mean_similarity(*rows))


def _check_pair(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    for name, array in (("reference", reference), ("image", image)):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != _CHANNELS:
            raise ValueError(f"{name}: expected uint8 RGB (H, W, 3), got {array.dtype} {array.shape}")
    if reference.shape != image.shape:
        raise ValueError(f"reference {reference.shape} and image {image.shape} differ in shape")


@numba.njit(cache=True, nogil=True)
def _squared_difference(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> int:
    total = 0
    for i in range(reference.size):
        difference = int(reference[i]) - int(image[i])
        total += difference * difference
    return total


@numba.njit(cache=True, nogil=True)
def _mean_similarity(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    """Mean of the similarity over all windows that lie in the images, (H, 3 W) each.

    Five sums over each column of the window's height move down by one row at a time; a window is seven of
    them side by side.
    """
    height, width = reference.shape
    n_windows = width - (WINDOW - 1) * _CHANNELS
    columns = np.zeros((5, width), np.int32)
    similarity = np.empty(n_windows)
    total = 0.0
    for y in range(height):
        _move(columns, reference[y], image[y], 1)
        if y >= WINDOW:
            _move(columns, reference[y - WINDOW], image[y - WINDOW], -1)
        if y >= WINDOW - 1:
            _row_similarity(columns, similarity)
            total += similarity.sum()
    return total / (n_windows * (height - WINDOW + 1))


@numba.njit(cache=True, nogil=True)
def _move(
    columns: NDArray[np.int32], reference: NDArray[np.uint8], image: NDArray[np.uint8], sign: int
) -> None:
    """Add a row to the columns' sums of a, b, a^2, b^2 and a b, or take one away."""
    for i in range(reference.size):
        a, b = np.int32(reference[i]), np.int32(image[i])
        columns[0, i] += np.int32(sign) * a
        columns[1, i] += np.int32(sign) * b
        columns[2, i] += np.int32(sign) * a * a
        columns[3, i] += np.int32(sign) * b * b
        columns[4, i] += np.int32(sign) * a * b


@numba.njit(cache=True, nogil=True)
def _row_similarity(columns: NDArray[np.int32], similarity: NDArray[np.float64]) -> None:
    """Similarity of a row of windows, (2 m_a m_b + c1) (2 s_ab + c2) / (m_a^2 + m_b^2 + c1) (s_a + s_b + c2).

    With means and covariances as whole numbers: 49^2 times 255^2 fits 32 bits.
    """
    for i in range(similarity.size):
        a = b = aa = bb = ab = np.int32(0)
        for k in range(WINDOW):
            at = i + k * _CHANNELS
            a += columns[0, at]
            b += columns[1, at]
            aa += columns[2, at]
            bb += columns[3, at]
            ab += columns[4, at]
        product = np.float64(a) * np.float64(b)
        squares = np.float64(a) * np.float64(a) + np.float64(b) * np.float64(b)
        covariance = _COUNT * np.float64(ab) - product
        variances = _COUNT * (np.float64(aa) + np.float64(bb)) - squares
        similarity[i] = ((2.0 * product + _C1) * (2.0 * covariance + _C2)) / (
            (squares + _C1) * (variances + _C2)
        )
