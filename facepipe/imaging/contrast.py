"""How much of the range from black to white a picture uses."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MIN_CONTRAST_LEVELS = 12
"""A picture with less is no photograph: the scale of its samples was misread, or a lens cap was on."""

_ENOUGH_PIXELS = 1_000_000


def contrast_levels(image: NDArray[np.uint8]) -> int:
    """Grey levels from the first to the 99th percentile of all samples of a picture, uint8 (H, W, 3)."""
    step = max(1, math.isqrt(image.shape[0] * image.shape[1] // _ENOUGH_PIXELS))
    counts = np.bincount(image[::step, ::step].ravel(), minlength=256)
    low, high = np.searchsorted(counts.cumsum() / counts.sum(), (0.01, 0.99))
    return int(high - low)
