"""What a run takes from other packages: which plug-ins, and the columns that their metrics add."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa

from facepipe.bench.run_store import RunStore
from facepipe.bench.shard_truth import read_truth
from facepipe.bench.spec import Condition, RunSpec, truth_volume_name
from facepipe.core.plugins import PluginSource, load_plugin
from facepipe.core.truth import Truth, TruthKind
from facepipe.datasets.filters import FilteredDataset
from facepipe.datasets.plugin_dataset import PluginDataset
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import open_metric_plugin
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.plugin_method import PluginMethod
from facepipe.models.vrn.plugin_regressor import PluginRegressor
from facepipe.models.vrn.regressors import get_regressor

Scores = dict[str, float | None]


def used_plugins(spec: RunSpec) -> tuple[PluginSource, ...]:
    """The plug-ins among a run's methods, regressors, metrics and its data set.

    Raises:
        UsageError: a name is unknown.
        PluginError: one cannot be used.
    """
    found: list[PluginMethod | PluginRegressor] = []
    found += [m for m in map(get_method, spec.methods) if isinstance(m, PluginMethod)]
    found += [r for r in map(get_regressor, spec.regressors) if isinstance(r, PluginRegressor)]
    sources = [one.plugin.source for one in found]
    sources += [open_metric_plugin(name).plugin.source for name in spec.metrics]
    dataset = spec.dataset.base if isinstance(spec.dataset, FilteredDataset) else spec.dataset
    if isinstance(dataset, PluginDataset):
        sources.append(load_plugin("dataset", dataset.kind).source)
    return tuple(sources)


def with_plugins(spec: RunSpec) -> RunSpec:
    """The same specification with the sources of its plug-ins; raises as `used_plugins`."""
    return replace(spec, plugins=used_plugins(spec))


def plugin_facts(spec: RunSpec) -> dict[str, Any]:
    """What run.json says of plug-ins: their sources, and what metrics mean; nothing without any."""
    if not spec.plugins:
        return {}
    return {
        "plugins": [asdict(source) for source in spec.plugins],
        "metrics": [described_metric(name) for name in spec.metrics],
    }


def described_metric(name: str) -> dict[str, Any]:
    """A plug-in metric as run.json has it: its description, name, licence and fingerprint."""
    metric = open_metric_plugin(name)
    return {
        "plugin": name,
        "licence": metric.plugin.source.licence,
        "fingerprint": metric.fingerprint(),
        **asdict(metric.description),
    }


def metric_columns(names: Iterable[str]) -> list[str]:
    """The columns of plug-in metrics."""
    return [open_metric_plugin(name).description.name for name in names]


def add_metric_columns(schema: pa.Schema, columns: Iterable[str]) -> pa.Schema:
    """A schema with columns of metrics in the end; those that it has already are not repeated."""
    new = [pa.field(name, pa.float64()) for name in columns if name not in schema.names]
    return pa.schema([*schema, *new])


def plugin_scorer(
    spec: RunSpec, store: RunStore, condition: Condition
) -> Callable[[int, TruthKind, Scores], Scores]:
    """A function that scores a sample by plug-in metrics, from its index, kind of truth and what is known.

    Args:
        spec: of the run.
        store: with the arrays that the metrics need.
        condition: of the rows.

    Returns:
        The function; its result holds the columns that are not known yet.
    """
    measures = {metric.description.name: metric.build() for metric in map(open_metric_plugin, spec.metrics)}

    def score(index: int, truth: TruthKind, known: Scores) -> Scores:
        missing = measures.keys() - known.keys()
        if not missing:
            return {}
        inputs = metric_inputs(spec, store, condition, index, truth)
        return {column: measures[column](inputs) for column in missing}

    return score


def metric_inputs(
    spec: RunSpec, store: RunStore, condition: Condition, index: int, truth: TruthKind
) -> MetricInputs:
    """Read what metrics may look at in one sample under one condition.

    Args:
        spec: of the run.
        store: of the run.
        condition: of the row.
        index: of the sample.
        truth: kind of truth that the sample has.
    """

    def one(name: str) -> Any:
        return store.read(name, index, index + 1)[0]

    images = {"reference": one("reference"), "restored": one(condition.restored)}
    geometry = spec.regressors.get(condition.regressor)
    if geometry is None:
        return MetricInputs(**images, truth=_truth(store, truth, index, dense=False))
    topology = spec.dataset.topology()
    dense = truth == "dense" and topology is not None
    return MetricInputs(
        **images,
        volume=one(condition.volume),
        reference_volume=one(condition.reference().volume),
        geometry=geometry,
        truth=_truth(store, truth, index, dense),
        topology=topology,
        truth_volume=one(truth_volume_name(geometry)) if dense else None,
    )


def _truth(store: RunStore, kind: TruthKind, index: int, dense: bool) -> Truth:
    """The truth of a sample; where its mesh is not among the arrays, what is known beside it."""
    return read_truth(store, "landmarks3d" if kind == "dense" and not dense else kind, index)
