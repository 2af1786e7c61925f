"""Format the result table of a run as text."""

from __future__ import annotations

import io
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from facepipe.core.schema import SCORES
from facepipe.metrics.catalogue import Metric
from facepipe.results.aggregate import ConditionSummary, aggregate
from facepipe.results.runs import read_metrics, read_scores

TABLE_METRICS = (
    "psnr_db",
    "ssim",
    "iou",
    "nme",
    "landmark_depth_nme",
    "depth_rmse_px",
    "ref_iou",
    "ref_depth_rmse_px",
    "coverage",
    "nme_icp",
)
"""The metrics of the printed table, the most telling first, behind those of plug-ins, which were asked for.
The last ones that do not fit the width go."""

_GAP = 2
_PLAIN_WIDTH = 140


def result_table_text(path: Path, width: int | None = None, styled: bool | None = None) -> str:
    """The mean and 95 % interval of the main metrics in every condition of a run, or of several.

    Args:
        path: a run or a folder of runs.
        width: characters a line may have; the terminal's width by default.
        styled: with colours; by default if standard output is a terminal.

    Raises:
        UsageError: there is no run.
        FacepipeError: run.json or the scores are damaged.
    """
    styled = sys.stdout.isatty() if styled is None else styled
    if width is None:
        width = shutil.get_terminal_size().columns if styled else _PLAIN_WIDTH
    metrics = read_metrics(path)
    summaries = aggregate(read_scores(path))
    if not summaries:
        return f"{path}: no scores yet; `facepipe status {path}` says how far the run is"
    wanted = (*(name for name in metrics if name not in SCORES.names), *TABLE_METRICS)
    present = [metrics[name] for name in wanted if any(name in summary.metrics for summary in summaries)]
    shown = _fitting(summaries, present, width)
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=styled,
        color_system="standard" if styled else None,
        highlight=False,
        legacy_windows=False,
        force_jupyter=False,
    )
    for regressor, group in groupby(summaries, lambda summary: summary.condition.regressor):
        console.print(_table(regressor, list(group), shown))
    console.print(_legend([metric.name for metric in present[len(shown) :]]))
    for regressor in _blind(summaries):
        console.print(
            Text(
                f"warning: regressor {regressor} finds nothing in any reference image: its volumes are empty",
                style="bold yellow",
            )
        )
    file = console.file
    text = file.getvalue() if isinstance(file, io.StringIO) else ""
    return "\n".join(line.rstrip() for line in text.splitlines())


def _table(regressor: str, summaries: Sequence[ConditionSummary], shown: Sequence[Metric]) -> Table:
    title = "images only" if regressor == "none" else f"regressor {regressor}"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for heading in ("", "px", "method", "n"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("px", "n") else "left")
    for metric in shown:
        table.add_column(_heading(metric))
        table.columns[-1].no_wrap = True
        table.columns[-1].justify = "right"
    same_size = lambda summary: (summary.condition.degradation, summary.condition.low_px)  # noqa: E731
    for (degradation, low_px), rows in groupby(summaries, same_size):
        members = list(rows)
        best = _best(members, shown)
        for i, summary in enumerate(members):
            cells = [_cell(summary, best.get(metric.name) is summary, metric) for metric in shown]
            label = degradation if i == 0 else ""
            size = str(low_px) if i == 0 else ""
            table.add_row(label, size, Text(summary.condition.method), str(summary.n), *cells)
    return table


def _heading(metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    arrow = "↑" if metric.higher_is_better else "↓"
    return f"{metric.name.removesuffix('_px').removesuffix('_db')}{unit} {arrow}"


def _fitting(summaries: Sequence[ConditionSummary], metrics: Sequence[Metric], width: int) -> list[Metric]:
    """The first metrics whose columns fit the width beside the labels; at least one."""
    conditions = [summary.condition for summary in summaries]
    labels = (
        ["", *(condition.degradation for condition in conditions)],
        ["px", *(str(condition.low_px) for condition in conditions)],
        ["method", *(condition.method for condition in conditions)],
        ["n", *(str(summary.n) for summary in summaries)],
    )
    left = width - sum(max(map(cell_len, column)) + _GAP for column in labels)
    shown: list[Metric] = []
    for metric in metrics:
        cells = [_cell(summary, True, metric).cell_len for summary in summaries]
        left -= max(cell_len(_heading(metric)), *cells) + _GAP
        if left < 0 and shown:
            break
        shown.append(metric)
    return shown


def _best(summaries: Sequence[ConditionSummary], shown: Sequence[Metric]) -> Mapping[str, ConditionSummary]:
    """Per metric the summary with the best mean, where there is more than one to choose from."""
    best = {}
    for metric in shown:
        name = metric.name
        with_metric = [summary for summary in summaries if name in summary.metrics]
        if len(with_metric) > 1:
            sign = 1 if metric.higher_is_better else -1
            best[name] = max(with_metric, key=lambda summary: sign * summary.metrics[name].mean)
    return best


def _cell(summary: ConditionSummary, is_best: bool, metric: Metric) -> Text:
    estimate = summary.metrics.get(metric.name)
    if estimate is None:
        return Text("")
    digits = 2 if metric.unit else 3
    text = f"{estimate.mean:.{digits}f}"
    if math.isfinite(estimate.low):
        text += f" ±{(estimate.high - estimate.low) / 2:.{digits}f}"
    return Text(text + ("*" if is_best else " "), style="bold green" if is_best else "")


def _blind(summaries: Sequence[ConditionSummary]) -> list[str]:
    """Regressors that have no sample with a volume to compare with."""
    names = dict.fromkeys(summary.condition.regressor for summary in summaries)
    seeing = {summary.condition.regressor for summary in summaries if "ref_iou" in summary.metrics}
    return [name for name in names if name != "none" and name not in seeing]


def _legend(left_out: Sequence[str]) -> Text:
    text = (
        "mean ± half the 95 % bootstrap interval over samples; ↑ higher is better, ↓ lower is better; "
        "* best mean of its size"
    )
    return Text(text + (f"; no room for {', '.join(left_out)}" if left_out else ""), style="dim")
