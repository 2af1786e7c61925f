"""Means with bootstrap intervals over samples.

The samples are what is drawn at random: every resample takes whole samples, the same ones for all
conditions and metrics, so that the differences between methods are paired. The mean of a resample is a
product of the matrix of draw counts with the matrix of scores (Efron & Tibshirani 1993, percentile
interval), which takes all conditions at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 2000
CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 8_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean over samples.

    Attributes:
        mean: over the samples where the metric is a finite number.
        low, high: its 95 % bootstrap interval; NaN for a single sample, which tells nothing of others.
        n: number of these samples.
    """

    mean: float
    low: float
    high: float
    n: int


def estimate_means(columns: NDArray[np.float64], n_resamples: int, seed: int) -> list[Estimate]:
    """Estimate the mean of every column (samples, columns); NaN is 'no value'."""
    valid = np.isfinite(columns)
    n = valid.sum(axis=0)
    values = np.where(valid, columns, 0.0)
    means = values.sum(axis=0) / np.maximum(n, 1)
    spread = np.flatnonzero(n > 1)
    low = np.full(len(n), np.nan)
    high = np.full(len(n), np.nan)
    if len(spread):
        # Centred values keep the rounding of a sum far below the width of any interval.
        centred = np.where(valid, columns - means, 0.0)[:, spread]
        resampled = _resampled_means(centred, valid[:, spread], n_resamples, seed)
        tail = 50 * (1 - CONFIDENCE)
        bounds = np.nanpercentile(resampled, [tail, 100 - tail], axis=0) + means[spread]
        low[spread], high[spread] = bounds
    return [
        Estimate(float(means[k]) if n[k] else float("nan"), float(low[k]), float(high[k]), int(n[k]))
        for k in range(len(n))
    ]


def mean_of(values: NDArray[np.float64]) -> Estimate:
    """Estimate the mean of finite values (N,), N > 0; a single one is its own interval."""
    estimate = estimate_means(values[:, None], N_RESAMPLES, seed=0)[0]
    return estimate if estimate.n > 1 else replace(estimate, low=estimate.mean, high=estimate.mean)


def _resampled_means(
    values: NDArray[np.float64], valid: NDArray[np.bool_], n_resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means of bootstrap resamples (n_resamples, columns); NaN where a resample drew no valid sample."""
    n_samples, n_columns = values.shape
    rng = np.random.default_rng(seed)
    means = np.full((n_resamples, n_columns), np.nan)
    weights = valid.astype(np.float64)
    block = max(1, _DRAWS_AT_ONCE // n_samples)
    for start in range(0, n_resamples, block):
        stop = min(start + block, n_resamples)
        drawn = rng.integers(0, n_samples, (stop - start, n_samples))
        drawn += n_samples * np.arange(stop - start)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=(stop - start) * n_samples)
        counts = counts.reshape(stop - start, n_samples).astype(np.float64)
        total = counts @ weights
        np.divide(counts @ values, total, out=means[start:stop], where=total > 0)
    return means


def plain(means: Mapping[str, Estimate]) -> dict[str, object]:
    """Means as plain values: value, interval and number of images."""
    return {
        name: {
            "value": round(one.mean, 4),
            "low": round(one.low, 4),
            "high": round(one.high, 4),
            "images": one.n,
        }
        for name, one in means.items()
    }


def text(means: Mapping[str, Estimate]) -> dict[str, str]:
    """Means as text for a model card."""
    return {name: f"{one.mean:.3f} ({one.low:.3f} to {one.high:.3f})" for name, one in means.items()} | {
        "images": str(max(one.n for one in means.values()))
    }
