"""Means over images with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

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


def plain(means: Mapping[str, Mean]) -> dict[str, object]:
    """Means as plain values: value, interval and number of images."""
    return {
        name: {key: round(value, 4) for key, value in asdict(mean).items()} for name, mean in means.items()
    }


def text(means: Mapping[str, Mean]) -> dict[str, str]:
    """Means as text for a model card."""
    return {name: f"{mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f})" for name, mean in means.items()} | {
        "images": str(max(mean.images for mean in means.values()))
    }
