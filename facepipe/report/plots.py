"""Choose the charts of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup
from numpy.typing import NDArray

from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.report.charts import resolution_chart, scatter_chart
from facepipe.report.style import MethodStyle, number
from facepipe.results.aggregate import ConditionSummary

RESOLUTION_METRICS = ("iou", "ref_iou", "nme", "depth_rmse_px", "ref_depth_rmse_px", "psnr_db", "ssim")
_CHARTS_A_ROW = 3
_MOST_SHAPE_CHARTS = 4
_IMAGE_QUALITY = "psnr_db"
_SHAPE_METRICS = ("iou", "ref_iou")


@dataclass(frozen=True)
class ChartGroup:
    """The charts of one regressor and degradation.

    Attributes:
        heading: which they are; empty where the run has but one.
        resolution: metrics against resolution.
        relation: image quality against shape, one chart a size.
        methods: whose lines are in them, in the table's order.
    """

    heading: str
    resolution: list[Markup]
    relation: list[Markup]
    methods: list[MethodStyle]


def chart_groups(
    scores: pa.Table,
    summaries: Sequence[ConditionSummary],
    styles: Mapping[str, MethodStyle],
    metrics: Mapping[str, Metric] = METRICS,
    size_unit: str = "px",
) -> list[ChartGroup]:
    """The charts of a run, a group for every regressor and degradation.

    Args:
        scores: of the run.
        summaries: of its conditions.
        styles: of its methods.
        metrics: by column; those of plug-ins have a chart each, behind the others.
        size_unit: what the sizes of conditions count.
    """
    plugins = [metric for name, metric in metrics.items() if name not in METRICS]
    restored = [s.condition for s in summaries if not s.condition.is_reference]
    places = list(dict.fromkeys((c.regressor, c.degradation) for c in restored))
    groups = []
    for regressor, degradation in places:
        own = [
            s
            for s in summaries
            if s.condition.regressor == regressor
            and (s.condition.degradation == degradation or s.condition.is_reference)
        ]
        methods = dict.fromkeys(s.condition.method for s in own if not s.condition.is_reference)
        charts = [resolution_chart(own, metrics[name], styles, size_unit) for name in RESOLUTION_METRICS]
        shape = [chart for chart in charts[:-2] if chart][:_MOST_SHAPE_CHARTS]
        resolution = shape + [chart for chart in charts[-2:] if chart]
        if len(resolution) > _CHARTS_A_ROW:
            resolution = resolution[: len(resolution) // _CHARTS_A_ROW * _CHARTS_A_ROW]
        more = (resolution_chart(own, metric, styles, size_unit) for metric in plugins)
        resolution += [chart for chart in more if chart]
        groups.append(
            ChartGroup(
                _heading(regressor, degradation, places, size_unit),
                resolution,
                _relation(scores, regressor, degradation, styles),
                [styles[name] for name in methods],
            )
        )
    return groups


def _heading(regressor: str, degradation: str, places: Sequence[tuple[str, str]], size_unit: str) -> str:
    parts = []
    if len({name for name, _ in places}) > 1:
        parts.append(f"regressor {regressor}")
    if len(places) > 1:
        parts.append(f"degradation {degradation}")
    if size_unit != "px":
        parts.append(f"against {size_unit}")
    return ", ".join(parts)


def _relation(
    scores: pa.Table, regressor: str, degradation: str, styles: Mapping[str, MethodStyle]
) -> list[Markup]:
    """PSNR against the shape metric, one chart a size, with Spearman's rank correlation over samples."""
    same = pc.and_(pc.equal(scores["regressor"], regressor), pc.equal(scores["degradation"], degradation))
    own = scores.filter(same)
    shape = next((name for name in _SHAPE_METRICS if own[name].null_count < own.num_rows), None)
    if shape is None:
        return []
    charts = []
    for low_px in sorted(set(own["low_px"].to_pylist())):
        at_size = own.filter(pc.equal(own["low_px"], low_px))
        x, y = ({} for _ in range(2))
        for name in dict.fromkeys(at_size["method"].to_pylist()):
            rows = at_size.filter(pc.equal(at_size["method"], name))
            x[name], y[name] = _floats(rows, _IMAGE_QUALITY), _floats(rows, shape)
        note = _correlation(np.concatenate([*x.values()]), np.concatenate([*y.values()]))
        title = f"{METRICS[shape].title}, {low_px} px"
        chart = scatter_chart(x, y, _IMAGE_QUALITY, shape, styles, title, note)
        if chart:
            charts.append(chart)
    return charts


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    both = np.isfinite(x) & np.isfinite(y)
    x, y = x[both], y[both]
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return ""
    from scipy.stats import spearmanr  # slow to import

    return f"rank correlation {number(float(spearmanr(x, y).statistic), 'px')}"


def _floats(table: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(table[column].fill_null(np.nan).to_numpy(), np.float64)
