"""The tables of the page: all conditions, and groups of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import pyarrow as pa

from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.metrics.intervals import Estimate
from facepipe.report.answer import Verdict
from facepipe.report.style import MethodStyle, number
from facepipe.results.aggregate import ConditionSummary, aggregate
from facepipe.results.strata import strata

_STRATA = {"yaw": "head pose", "skin_tone": "skin tone", "subset": "subset"}


@dataclass(frozen=True)
class ResultCell:
    """A mean and its interval as text; `mark` is 'best', 'tie' or ''."""

    mean: str
    interval: str
    mark: str


@dataclass(frozen=True)
class ResultRow:
    """One condition. The first of a size carries its label."""

    degradation: str
    low_px: int
    first: bool
    style: MethodStyle
    n: int
    cells: list[ResultCell | None]


@dataclass(frozen=True)
class ResultSection:
    """The table of one regressor."""

    regressor: str
    metrics: list[Metric]
    rows: list[ResultRow]


@dataclass(frozen=True)
class StratumTable:
    """A metric by parts of the data: a row a part, a column for each resolution's best method."""

    title: str
    columns: list[str]
    rows: list[tuple[str, int, list[ResultCell | None]]]


def result_sections(
    summaries: Sequence[ConditionSummary],
    styles: Mapping[str, MethodStyle],
    found: Sequence[Verdict],
    metric: Metric | None,
    metrics: Mapping[str, Metric] = METRICS,
) -> list[ResultSection]:
    """The result table, a section for every regressor; the best mean of each size is marked.

    For the deciding metric, methods that are not told apart from the best are marked as ties.

    Args:
        summaries: of a run's conditions.
        styles: of its methods.
        found: the best method at each size.
        metric: the deciding one.
        metrics: by column, those of plug-ins too.
    """
    ties = {(v.regressor, v.degradation, v.low_px): v.ties for v in found}
    sections = []
    for regressor, group in groupby(summaries, lambda s: s.condition.regressor):
        members = list(group)
        shown = [column for name, column in metrics.items() if any(name in s.metrics for s in members)]
        rows = []
        for (degradation, low_px), size_group in groupby(
            members, lambda s: (s.condition.degradation, s.condition.low_px)
        ):
            rivals = list(size_group)
            tied = ties.get((regressor, degradation, low_px), ())
            for i, summary in enumerate(rivals):
                cells = [
                    _cell(summary, shown_metric, rivals, tied if shown_metric == metric else ())
                    for shown_metric in shown
                ]
                style = styles[summary.condition.method]
                rows.append(ResultRow(degradation, low_px, i == 0, style, summary.n, cells))
        sections.append(ResultSection(regressor, shown, rows))
    return sections


def stratum_tables(scores: pa.Table, metric: Metric, found: Sequence[Verdict]) -> list[StratumTable]:
    """How the deciding metric differs by head pose, skin tone and subset, where these are known.

    Shown are the reference and the best method of each size, for the first regressor and degradation.
    """
    if not found:
        return []
    first = [v for v in found if (v.regressor, v.degradation) == (found[0].regressor, found[0].degradation)]
    wanted = [first[0].best.condition.reference(), *(v.best.condition for v in first)]
    tables = []
    for by, title in _STRATA.items():
        parts = strata(scores, by)
        if len(parts) < 2:
            continue
        rows = []
        for label, part in parts.items():
            by_condition = {s.condition: s for s in aggregate(part, [metric.name])}
            estimates = [
                by_condition[c].metrics.get(metric.name) if c in by_condition else None for c in wanted
            ]
            n = max((e.n for e in estimates if e is not None), default=0)
            rows.append((label, n, [None if e is None else _plain(e, metric) for e in estimates]))
        columns = ["reference", *(f"{c.low_px} px, {c.method}" for c in wanted[1:])]
        tables.append(StratumTable(f"{metric.title} by {title}", columns, rows))
    return tables


def _cell(
    summary: ConditionSummary, metric: Metric, rivals: Sequence[ConditionSummary], ties: Sequence[str]
) -> ResultCell | None:
    estimate = summary.metrics.get(metric.name)
    if estimate is None:
        return None
    means = [rival.metrics[metric.name].mean for rival in rivals if metric.name in rival.metrics]
    best = max(means) if metric.higher_is_better else min(means)
    plain = _plain(estimate, metric)
    if len(means) > 1 and estimate.mean == best:
        return ResultCell(plain.mean, plain.interval, "best")
    mark = "tie" if summary.condition.method in ties else ""
    return ResultCell(plain.mean, plain.interval, mark)


def _plain(estimate: Estimate, metric: Metric) -> ResultCell:
    interval = ""
    if math.isfinite(estimate.low):
        interval = f"{number(estimate.low, metric.unit)} – {number(estimate.high, metric.unit)}"
    return ResultCell(number(estimate.mean, metric.unit), interval, "")
