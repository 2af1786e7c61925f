"""Means with bootstrap intervals over the samples of a scores table.

The samples are what is drawn at random: every resample takes whole samples, the same ones for all
conditions and metrics, so that the differences between methods are paired. The mean of a resample is a
product of the matrix of draw counts with the matrix of scores (Efron & Tibshirani 1993, percentile
interval), which takes all conditions at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.errors import UsageError
from facepipe.plan import Condition
from facepipe.registry import unknown
from facepipe.schema import CONDITION_COLUMNS, METRIC_COLUMNS

N_RESAMPLES = 2000
CONFIDENCE = 0.95
_DRAWS_AT_ONCE = 8_000_000
_BASELINES = ("bilinear", "bicubic", "nearest")
_YAW_EDGES_DEG = (30.0, 60.0)
_TONE_EDGES = (1 / 3, 2 / 3)


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


@dataclass(frozen=True)
class ConditionSummary:
    """One condition's means; metrics that are null in all of its rows are left out."""

    condition: Condition
    n: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class Difference:
    """How much more than the baseline method a condition's metrics are, over the samples both have."""

    condition: Condition
    baseline: str
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True)
class _Scores:
    """A scores table as an array.

    Attributes:
        conditions: in the table's order, sizes ascending within a degradation.
        values: float64 (samples, conditions, metrics), NaN where there is no finite value.
        rows: bool (samples, conditions), where the table has a row.
    """

    conditions: list[Condition]
    values: NDArray[np.float64]
    rows: NDArray[np.bool_]


def aggregate(
    scores: pa.Table,
    metrics: Sequence[str] = METRIC_COLUMNS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[ConditionSummary]:
    """Mean and 95 % interval of each metric in each condition.

    Args:
        scores: rows as `facepipe.schema.SCORES`; may hold several runs.
        metrics: columns to average.
        n_resamples: number of bootstrap resamples.
        seed: of the resamples; the same table and seed give the same intervals.
    """
    table = _to_array(scores, metrics)
    n_samples, n_conditions, n_metrics = table.values.shape
    columns = table.values.reshape(n_samples, n_conditions * n_metrics)
    estimates = _estimate(columns, n_resamples, seed)
    summaries = []
    for i, condition in enumerate(table.conditions):
        row = estimates[i * n_metrics : (i + 1) * n_metrics]
        found = {name: value for name, value in zip(metrics, row, strict=True) if value.n}
        summaries.append(ConditionSummary(condition, int(table.rows[:, i].sum()), found))
    return summaries


def differences(
    scores: pa.Table,
    baseline: str,
    metrics: Sequence[str] = METRIC_COLUMNS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Paired differences of every method to a baseline method at the same degradation, size, regressor.

    Args:
        scores: rows as `facepipe.schema.SCORES`.
        baseline: the method that is subtracted.
        metrics: columns to compare.
        n_resamples, seed: as `aggregate`.

    Raises:
        UsageError: the table has no such method.
    """
    table = _to_array(scores, metrics)
    methods = dict.fromkeys(condition.method for condition in table.conditions)
    if baseline not in methods:
        raise unknown("method", baseline, methods)
    column = {condition: i for i, condition in enumerate(table.conditions)}
    pairs = [
        (condition, i, column[base])
        for i, condition in enumerate(table.conditions)
        for base in [Condition(condition.degradation, condition.low_px, baseline, condition.regressor)]
        if base in column and condition != base
    ]
    if not pairs:
        return []
    deltas = table.values[:, [i for _, i, _ in pairs]] - table.values[:, [j for _, _, j in pairs]]
    estimates = _estimate(deltas.reshape(len(deltas), -1), n_resamples, seed)
    n_metrics = len(metrics)
    return [
        Difference(
            condition,
            baseline,
            {
                name: value
                for name, value in zip(metrics, estimates[k * n_metrics : (k + 1) * n_metrics], strict=True)
                if value.n
            },
        )
        for k, (condition, _, _) in enumerate(pairs)
    ]


def default_baseline(methods: Iterable[str]) -> str | None:
    """The plainest interpolation among some methods, or None where none of them is one."""
    present = set(methods)
    return next((name for name in _BASELINES if name in present), None)


def strata(scores: pa.Table, by: str) -> dict[str, pa.Table]:
    """Split a table into parts that are aggregated on their own.

    Args:
        scores: rows as `facepipe.schema.SCORES`.
        by: ``subset``; ``yaw`` (|yaw| below 30, 30 to 60, above 60 degrees, the bins of Large Pose
            evaluations on AFLW2000-3D); or ``skin_tone`` (thirds from lightest to darkest).

    Returns:
        Part name -> rows, in the order of the bins; rows whose value is unknown are in no part.

    Raises:
        UsageError: nothing is split by this name.
    """
    if by == "subset":
        names = scores["subset"].to_pylist()
        labels = sorted({name for name in names if name})
        part = np.array([labels.index(name) if name else -1 for name in names], int)
    elif by == "yaw":
        labels = ["|yaw| < 30", "|yaw| 30 to 60", "|yaw| > 60"]
        part = _bins(np.abs(_floats(scores, "yaw_deg")), _YAW_EDGES_DEG)
    elif by == "skin_tone":
        labels = ["light", "medium", "dark"]
        part = _bins(_floats(scores, "skin_tone"), _TONE_EDGES)
    else:
        raise unknown("stratum", by, ("subset", "yaw", "skin_tone"))
    parts = {label: scores.filter(pa.array(part == i)) for i, label in enumerate(labels)}
    return {label: table for label, table in parts.items() if table.num_rows}


def _bins(values: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.intp]:
    return np.where(np.isnan(values), -1, np.digitize(values, edges))


def _floats(scores: pa.Table, column: str) -> NDArray[np.float64]:
    values = scores[column].cast(pa.float64())
    return np.asarray(values.fill_null(np.nan).to_numpy(), np.float64)


def _to_array(scores: pa.Table, metrics: Sequence[str]) -> _Scores:
    missing = [
        name for name in (*CONDITION_COLUMNS, "sample_id", *metrics) if name not in scores.schema.names
    ]
    if missing:
        raise UsageError(f"the scores table has no column {', '.join(missing)}: is it another version's?")
    run, _ = _codes(scores, ["run_id"]) if "run_id" in scores.schema.names else (0, [])
    sample, ids = _codes(scores, ["sample_id"])
    _, sample = np.unique(sample + run * max(1, len(ids)), return_inverse=True)
    condition, found = _codes(scores, CONDITION_COLUMNS)
    conditions = [Condition(*key) for key in found]
    order = sorted(range(len(conditions)), key=lambda i: _order(conditions, i))
    column = np.empty(len(order), int)
    column[order] = np.arange(len(order))
    n_samples = int(sample.max()) + 1 if len(sample) else 0
    values = np.full((n_samples, len(conditions), len(metrics)), np.nan)
    rows = np.zeros((n_samples, len(conditions)), bool)
    if n_samples:
        at = (sample, column[condition])
        rows[at] = True
        for k, name in enumerate(metrics):
            number = _floats(scores, name)
            values[(*at, k)] = np.where(np.isfinite(number), number, np.nan)
    return _Scores([conditions[i] for i in order], values, rows)


def _order(conditions: list[Condition], i: int) -> tuple[int, int, int, int]:
    """Regressors and degradations as the table first names them, sizes ascending, methods as first named."""

    def first(attribute: str) -> int:
        names = [getattr(condition, attribute) for condition in conditions]
        return names.index(names[i])

    return first("regressor"), first("degradation"), conditions[i].low_px, first("method")


def _codes(scores: pa.Table, columns: Sequence[str]) -> tuple[NDArray[np.int64], list[tuple]]:
    """Number the distinct values of some columns in the order in which they appear."""
    combined = np.zeros(scores.num_rows, np.int64)
    encoded = [scores[name].combine_chunks().dictionary_encode() for name in columns]
    for column in encoded:
        combined = combined * max(1, len(column.dictionary)) + column.indices.to_numpy(zero_copy_only=False)
    _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    keys = [tuple(column[int(row)].as_py() for column in encoded) for row in np.sort(first)]
    return rank[inverse], keys


def _estimate(columns: NDArray[np.float64], n_resamples: int, seed: int) -> list[Estimate]:
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
