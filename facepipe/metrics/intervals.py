"""Means over images with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


@dataclass(frozen=True)
class Mean:
    """A mean over images.

    Attributes:
        value: the mean.
        low, high: its 95 % interval, by bootstrap over images.
        images: how many images have the figure.
    """

    value: float
    low: float
    high: float
    images: int


def mean_of(values: NDArray[np.float64]) -> Mean:
    """The mean of values (N,), N > 0, with its interval."""
    draws = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), (0.025, 0.975))
    return Mean(float(values.mean()), float(low), float(high), len(values))
