"""Metrics of other packages, each a column of the scores."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from facepipe.core.errors import PluginError, PluginFailedError, UsageError
from facepipe.core.names import unknown
from facepipe.core.plugin_checks import check_protocol, plugin_fingerprint, run_plugin
from facepipe.core.plugins import Plugin, has_plugin, load_plugin, plugin_names
from facepipe.core.schema import SCORES
from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.metrics.inputs import MetricInputs

Measure = Callable[[MetricInputs], float | None]
"""From what a row knows to the metric's value; None where it is undefined."""

_COLUMN = re.compile(r"[a-z][a-z0-9_]*")


class MetricPlugin(Protocol):
    """What a plug-in metric declares and does.

    A plug-in may also have `fingerprint() -> str`, a digest of what its source does not say, such as its
    weights.

    Attributes:
        description: column, title, unit, range, direction, what it needs, formula and source.
        licence: SPDX identifier of code and weights.
        deterministic: whether equal inputs give equal values.
    """

    description: Metric
    licence: str
    deterministic: bool

    def build(self, device: str) -> Measure:
        """Load what is needed, once in a process.

        Args:
            device: a torch device: 'cpu', or 'cuda' where a worker has one.

        Returns:
            A function that is called where there is what the metric needs.
        """


@dataclass(frozen=True)
class PluginMetric:
    """A plug-in as a metric.

    Attributes:
        name: what it was asked for as.
        plugin: with a `MetricPlugin`.
    """

    name: str
    plugin: Plugin

    @property
    def description(self) -> Metric:
        """What its column means."""
        description: Metric = self.plugin.value.description
        return description

    def fingerprint(self) -> str:
        """A digest of its source, package, version, column, and of what it says itself."""
        return plugin_fingerprint(self.plugin, [self.description.name])

    def build(self, device: str = "cpu") -> Measure:
        """Return the loaded metric, the same function for the same device in one process.

        It gives None where what it needs is missing or its value is not finite.

        Raises:
            PluginFailedError: it fails to load.
        """
        return _built(self.name, device)


@lru_cache(maxsize=32)
def _built(name: str, device: str) -> Measure:
    metric = open_metric_plugin(name)
    description = metric.description
    measure: Measure = run_plugin("metric", name, lambda: metric.plugin.value.build(device))

    def checked(inputs: MetricInputs) -> float | None:
        if not inputs.has(description.needs):
            return None
        value = run_plugin("metric", name, lambda: measure(inputs))
        if value is None or math.isnan(value):
            return None
        low = -math.inf if description.low is None else description.low
        high = math.inf if description.high is None else description.high
        if not low <= value <= high:
            raise PluginFailedError(
                f"metric {name!r} gave {value:g}, and declares a range of {low:g} to {high:g}"
            )
        return float(value)

    return checked


def open_metric_plugin(name: str) -> PluginMetric:
    """Import a plug-in metric.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
        PluginError: it cannot be imported, does not keep to `MetricPlugin`, or its column has no good name or
            one that scores have already.
    """
    if name in METRICS:
        raise UsageError(
            f"metric {name!r}: every run has this column; metrics of plug-ins are asked for by name"
        )
    if not has_plugin("metric", name):
        raise unknown("metric", name, [*plugin_names("metric"), "module:object"])
    plugin = load_plugin("metric", name)
    check_protocol("metric", name, plugin.value, MetricPlugin)
    description = plugin.value.description
    if not isinstance(description, Metric):
        raise PluginError(f"metric {name!r}: description is {description!r}, expected a facepipe.Metric")
    if not _COLUMN.fullmatch(description.name) or description.name in SCORES.names:
        raise PluginError(
            f"metric {name!r}: its column {description.name!r} is taken or no name of small letters, digits "
            "and _"
        )
    return PluginMetric(name, plugin)
