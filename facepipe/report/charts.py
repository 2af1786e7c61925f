"""Charts as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.report.style import MethodStyle, number
from facepipe.results.aggregate import ConditionSummary

_WIDTH, _HEIGHT = 372, 278
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 48, 40
_MOST_DOTS = 900
"""Of a chart with more samples every other one is drawn, or every third, ..."""


@dataclass(frozen=True)
class _Axis:
    """A linear scale from values to pixels with round ticks."""

    low: float
    high: float
    start: float
    stop: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def _axis(values: Sequence[float], start: float, stop: float, bounds: Metric) -> _Axis:
    """An axis around values, with room at both ends but never beyond what the metric can be."""
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.1 * abs(high) or 0.5
    low, high = low - room, high + room
    low = low if bounds.low is None else max(low, bounds.low)
    high = high if bounds.high is None else min(high, bounds.high)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    step = 10 ** math.floor(math.log10((high - low) / 3))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (factor * step) <= 5)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return _Axis(low, high, start, stop, tuple(round(i * step, 10) for i in range(first, last + 1)))


def resolution_chart(
    summaries: Sequence[ConditionSummary],
    metric: Metric,
    styles: Mapping[str, MethodStyle],
    size_unit: str = "px",
) -> Markup:
    """A metric against resolution, a line per method with its 95 % intervals, the reference dashed.

    Args:
        summaries: of one regressor and degradation, and the regressor's reference.
        metric: which.
        styles: of the methods.
        size_unit: what sizes count.

    Returns:
        An `svg` element, or nothing where no summary has the metric.
    """
    metric_name = metric.name
    restored = [s for s in summaries if not s.condition.is_reference and metric_name in s.metrics]
    if not restored:
        return Markup("")
    # Against itself the reference is perfect: a line that says so tells nothing.
    trivial = metric.needs.startswith("reference")
    references = [s for s in summaries if s.condition.is_reference and not trivial]
    reference = next((s.metrics[metric_name] for s in references if metric_name in s.metrics), None)
    sizes = sorted({s.condition.low_px for s in restored})
    values = [v for s in restored for e in [s.metrics[metric_name]] for v in (e.mean, e.low, e.high)]
    if reference is not None:
        values.append(reference.mean)
    y = _axis([v for v in values if math.isfinite(v)], _HEIGHT - _BOTTOM, _TOP, metric)
    step = (_WIDTH - _LEFT - _RIGHT) / len(sizes)
    place = {px: _LEFT + (i + 0.5) * step for i, px in enumerate(sizes)}
    methods = list(dict.fromkeys(s.condition.method for s in restored))
    better = "higher is better" if metric.higher_is_better else "lower is better"
    parts = [_frame(y, _named(metric), better)]
    parts += [_text(place[px], _HEIGHT - _BOTTOM + 16, f"{px} px", "tick middle") for px in sizes]
    if reference is not None and y.low <= reference.mean <= y.high:
        at = y(reference.mean)
        parts.append(
            Markup('<line class="stroke mref dashed" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                _LEFT, _WIDTH - _RIGHT, at, at
            )
        )
        parts.append(_text(_LEFT + 4, at - 5, "reference image", "tick"))
    for k, method in enumerate(methods):
        shift = (k - (len(methods) - 1) / 2) * min(9.0, 0.5 * step / len(methods))
        own = {s.condition.low_px: s.metrics[metric_name] for s in restored if s.condition.method == method}
        style = styles[method]
        points = [(place[px] + shift, y(own[px].mean)) for px in sizes if px in own]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(Markup('<polyline class="stroke {}" points="{}"/>').format(style.colour, path))
        for px, estimate in sorted(own.items()):
            x = place[px] + shift
            tip = f"{style.label}, {px} {size_unit}: {number(estimate.mean, metric.unit)}"
            if math.isfinite(estimate.low):
                low, high = (number(v, metric.unit) for v in (estimate.low, estimate.high))
                tip += f" [{low}, {high}], n = {estimate.n}"
                parts.append(
                    Markup(
                        '<line class="stroke thin {}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>'
                    ).format(style.colour, x, x, y(estimate.low), y(estimate.high))
                )
            parts.append(
                Markup(
                    '<circle class="fill {}" cx="{:.1f}" cy="{:.1f}" r="4"><title>{}</title></circle>'
                ).format(style.colour, x, y(estimate.mean), tip)
            )
    return _svg(parts, f"{metric.title} against resolution by method")


def scatter_chart(
    x_values: Mapping[str, NDArray[np.float64]],
    y_values: Mapping[str, NDArray[np.float64]],
    x_name: str,
    y_name: str,
    styles: Mapping[str, MethodStyle],
    title: str,
    note: str,
) -> Markup:
    """One metric against another, a faint dot per sample and a large one per method's mean.

    Args:
        x_values, y_values: method -> values of its samples, in the same order; NaN where there is none.
        x_name, y_name: the columns.
        styles: of the methods.
        title, note: what stands above the chart.

    Returns:
        An `svg` element, or nothing where no sample has both.
    """
    both = {name: np.isfinite(x_values[name]) & np.isfinite(y_values[name]) for name in x_values}
    pairs = {name: (x_values[name][ok], y_values[name][ok]) for name, ok in both.items() if ok.any()}
    if not pairs:
        return Markup("")
    xs, ys = (np.concatenate([pair[i] for pair in pairs.values()]) for i in (0, 1))
    x = _axis(xs.tolist(), _LEFT, _WIDTH - _RIGHT, METRICS[x_name])
    y = _axis(ys.tolist(), _HEIGHT - _BOTTOM, _TOP, METRICS[y_name])
    parts = [_frame(y, title, note)]
    parts += [_text(x(v), _HEIGHT - _BOTTOM + 16, _tick(v), "tick middle") for v in x.ticks]
    parts.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, _named(METRICS[x_name]), "tick middle"))
    stride = max(1, math.ceil(len(xs) / _MOST_DOTS))
    for name, (a, b) in pairs.items():
        dots = "".join(f"M{x(u):.1f} {y(v):.1f}h0" for u, v in zip(a[::stride], b[::stride], strict=True))
        parts.append(Markup('<path class="dots {}" d="{}"/>').format(styles[name].colour, dots))
    for name, (a, b) in pairs.items():
        style = styles[name]
        units = METRICS[x_name].unit, METRICS[y_name].unit
        tip = f"{style.label}: mean {number(a.mean(), units[0])}, {number(b.mean(), units[1])}; n = {len(a)}"
        parts.append(
            Markup(
                '<circle class="fill ring {}" cx="{:.1f}" cy="{:.1f}" r="6"><title>{}</title></circle>'
            ).format(style.colour, x(float(a.mean())), y(float(b.mean())), tip)
        )
    return _svg(parts, f"{title}: {METRICS[y_name].title} against {METRICS[x_name].title}")


def _frame(y: _Axis, title: str, note: str) -> Markup:
    lines = [
        Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            _LEFT, _WIDTH - _RIGHT, y(v), y(v)
        )
        for v in y.ticks
    ]
    labels = [_text(_LEFT - 8, y(v) + 4, _tick(v), "tick end") for v in y.ticks]
    return Markup("").join(
        [
            _text(0, 13, title, "title"),
            _text(0, 30, note, "tick"),
            *lines,
            *labels,
        ]
    )


def _svg(parts: Sequence[Markup], description: str) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        _WIDTH, _HEIGHT, description, Markup("").join(parts)
    )


def _text(x: float, y: float, text: str, classes: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(classes, x, y, escape(text))


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def _named(metric: Metric) -> str:
    return f"{metric.title}, {metric.unit}" if metric.unit else metric.title
