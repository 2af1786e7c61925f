"""How near a restored image is to its reference."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

PEAK = 255.0
"""Largest grey level of an image: the peak of PSNR and the data range of SSIM."""


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
    difference = reference.astype(np.float64) - image
    mean_square = float(np.mean(difference * difference))
    return math.inf if mean_square == 0 else 10 * math.log10(PEAK**2 / mean_square)


def ssim(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> float:
    """Structural similarity (Wang et al. 2004), mean over pixels and channels; 1 for equal images.

    scikit-image's `structural_similarity` with its defaults (7 x 7 uniform window, sample covariance)
    and ``channel_axis=-1``.

    Args:
        reference: uint8 RGB (H, W, 3), H and W at least 7.
        image: uint8 RGB of the same shape.

    Raises:
        ValueError: the shapes or types differ from that.
    """
    _check_pair(reference, image)
    return float(structural_similarity(reference, image, channel_axis=-1, data_range=PEAK))


def _check_pair(reference: NDArray[np.uint8], image: NDArray[np.uint8]) -> None:
    for name, array in (("reference", reference), ("image", image)):
        if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
            raise ValueError(f"{name}: expected uint8 RGB (H, W, 3), got {array.dtype} {array.shape}")
    if reference.shape != image.shape:
        raise ValueError(f"reference {reference.shape} and image {image.shape} differ in shape")
