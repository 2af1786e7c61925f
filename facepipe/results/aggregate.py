"""Means over samples, and paired differences between methods, from a scores table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.bench.spec import Condition
from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.core.schema import CONDITION_COLUMNS, metric_columns
from facepipe.metrics.intervals import N_RESAMPLES, Estimate, estimate_means
from facepipe.results.columns import floats

_BASELINES = ("bilinear", "bicubic", "nearest")


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
    metrics: Sequence[str] | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[ConditionSummary]:
    """Mean and 95 % interval of each metric in each condition.

    Args:
        scores: rows as `facepipe.core.schema.SCORES`; may hold several runs.
        metrics: columns to average; None for every metric of the table.
        n_resamples: number of bootstrap resamples.
        seed: of the resamples; the same table and seed give the same intervals.
    """
    metrics = metric_columns(scores.schema) if metrics is None else metrics
    table = _to_array(scores, metrics)
    n_samples, n_conditions, n_metrics = table.values.shape
    columns = table.values.reshape(n_samples, n_conditions * n_metrics)
    estimates = estimate_means(columns, n_resamples, seed)
    summaries = []
    for i, condition in enumerate(table.conditions):
        row = estimates[i * n_metrics : (i + 1) * n_metrics]
        found = {name: value for name, value in zip(metrics, row, strict=True) if value.n}
        summaries.append(ConditionSummary(condition, int(table.rows[:, i].sum()), found))
    return summaries


def differences(
    scores: pa.Table,
    baseline: str,
    metrics: Sequence[str] | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> list[Difference]:
    """Paired differences of every method to a baseline method at the same degradation, size, regressor.

    Args:
        scores: rows as `facepipe.core.schema.SCORES`.
        baseline: the method that is subtracted.
        metrics: columns to compare; None for every metric of the table.
        n_resamples, seed: as `aggregate`.

    Raises:
        UsageError: the table has no such method.
    """
    metrics = metric_columns(scores.schema) if metrics is None else metrics
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
    estimates = estimate_means(deltas.reshape(len(deltas), -1), n_resamples, seed)
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
            number = floats(scores, name)
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
