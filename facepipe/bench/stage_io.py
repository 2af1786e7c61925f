"""The stages of a benchmark run, declared: what each reads, does to a unit, and writes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.bench import stages
from facepipe.bench.plugin_use import add_metric_columns, metric_columns, plugin_scorer
from facepipe.bench.rescore import earlier_scores
from facepipe.bench.run_store import ARRAY_RESULT, INGEST_RESULT, SCORE_RESULT, RunStore
from facepipe.bench.shard_truth import read_truth, shard_truth
from facepipe.bench.spec import STAGES, BenchUnit, Condition, RunSpec, made_by, truth_volume_name
from facepipe.bench.unit_results import before_regress, before_score, seconds_of, upstream
from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import MISSING_FILE, FacepipeError, RunConflictError, SampleError
from facepipe.core.tables import read_table
from facepipe.datasets.dataset import SampleRef
from facepipe.imaging.crop import Crop
from facepipe.models.device import usable_device
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.regressors import get_regressor
from facepipe.pipeline.batch_store import ArraySpec
from facepipe.pipeline.job import Reasons
from facepipe.pipeline.stage import Made, Stage
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.worker_check import check_gone

Shape = tuple[tuple[int, ...], str, float]
"""Shape of one sample, dtype, fill value."""


def input_arrays(spec: RunSpec) -> dict[str, Shape]:
    """The arrays that degrading fills, by name."""
    square = (NETWORK_PX, NETWORK_PX, 3)
    arrays: dict[str, Shape] = {"reference": (square, "uint8", 0)}
    for name in spec.degradations:
        for px in spec.low_px:
            arrays[Condition(name, px).lowres] = ((px, px, 3), "uint8", 0)
    arrays["truth/landmarks"] = ((68, 3), "float32", np.nan)
    topology = spec.dataset.topology()
    if topology is not None and spec.regressors:
        arrays["truth/vertices"] = ((topology.n_vertices, 3), "float32", np.nan)
        for geometry in spec.geometries():
            arrays[truth_volume_name(geometry)] = (geometry.shape, "uint8", 0)
    return arrays


def _guard(index: int, reasons: dict[int, tuple[str, str]], step: Callable[[], None]) -> None:
    """Do one sample's step; whatever the sample is to blame for becomes its reason."""
    try:
        step()
    except SampleError as error:
        reasons[index] = (error.reason, error.detail)
    except (OSError, MemoryError, FacepipeError):
        raise
    except Exception as error:  # noqa: BLE001 - one sample's surprise must not stop a hundred thousand
        reasons[index] = ("unexpected-error", f"{type(error).__name__}: {error}")


def _gone(reasons: Reasons) -> dict[int, tuple[str, str]]:
    return {index: why for index, why in reasons.items() if why[0] == MISSING_FILE}


def _ingest(spec: RunSpec, unit: BenchUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    store = spec.open_store()
    start, stop = spec.span(unit)
    reasons = dict(skip)
    rows: list[dict[str, Any]] = []
    for index, ref in _refs(store.candidates_path, start, stop):
        row: dict[str, Any] = {
            "sample_id": ref.sample_id,
            "subset": ref.subset,
            "source_path": ref.source_path,
        }

        def step(ref: SampleRef = ref, row: dict[str, Any] = row) -> None:
            row.update(stages.ingest(ref, spec.dataset.load(ref, dense=False), spec.crop))

        if index not in reasons:
            _guard(index, reasons, step)
        row["reason"], row["detail"] = reasons.get(index, (None, None))
        rows.append(row)
    check_gone(_gone(reasons), skip)
    return Made(pa.Table.from_pylist(rows, schema=INGEST_RESULT))


def _degrade(spec: RunSpec, unit: BenchUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    store = spec.open_store()
    start, stop = spec.span(unit)
    reasons = dict(skip)
    topology = spec.dataset.topology()
    arrays: dict[str, NDArray[Any]] = {
        name: np.full((stop - start, *shape), fill, dtype)
        for name, (shape, dtype, fill) in input_arrays(spec).items()
    }
    samples = read_table(store.samples_path).slice(start, stop - start).to_pylist()
    crops = [Crop(row["crop_x0"], row["crop_y0"], row["crop_size"]) for row in samples]
    for index, ref in _refs(store.refs_path, start, stop):

        def step(index: int = index, ref: SampleRef = ref) -> None:
            row = index - start
            sample = spec.dataset.load(ref)
            if sample.sha256 != samples[row]["sha256"]:
                raise RunConflictError(
                    f"{store.path}: {ref.source_path} of {spec.dataset.name} has changed since this run "
                    "began; put it back as it was, or choose another --out"
                )
            reference, lowres = stages.make_images(
                sample, crops[row], ref.sample_id, spec.degradations, spec.low_px, spec.seed
            )
            truth = stages.truth_in_crop(sample.truth, crops[row])
            arrays["reference"][row] = reference
            for (name, px), image in lowres.items():
                arrays[Condition(name, px).lowres][row] = image
            if truth.landmarks is not None:
                arrays["truth/landmarks"][row, :, : truth.landmarks.shape[1]] = truth.landmarks
            if truth.vertices is not None and topology is not None and spec.regressors:
                arrays["truth/vertices"][row] = truth.vertices[: topology.n_vertices]
                for geometry in spec.geometries():
                    volume = stages.make_truth_volume(truth, topology, geometry, spec.filling)
                    arrays[truth_volume_name(geometry)][row] = volume

        if index not in reasons:
            _guard(index, reasons, step)
    check_gone(_gone(reasons), skip)
    return Made(_rows(start, stop, reasons, 0.0), arrays)


def _restore(spec: RunSpec, unit: BenchUnit, skip: Reasons, device: str) -> Made:
    store = spec.open_store()
    start, stop = spec.span(unit)
    condition = unit.condition
    reasons = {**upstream(store, Unit("degrade", Condition(), unit.shard)), **skip}
    good = [row for row in range(stop - start) if start + row not in reasons]
    lowres = store.read(condition.lowres, start, stop)
    began = time.perf_counter()
    restored = np.zeros((stop - start, NETWORK_PX, NETWORK_PX, 3), np.uint8)
    if good:
        resolver = get_method(condition.method).build(condition.low_px, usable_device(device))
        restored[good] = resolver(lowres[good])
    seconds = (time.perf_counter() - began) / max(1, len(good))
    return Made(_rows(start, stop, reasons, seconds), {condition.restored: restored})


def _regress(spec: RunSpec, unit: BenchUnit, skip: Reasons, device: str) -> Made:
    store = spec.open_store()
    start, stop = spec.span(unit)
    condition = unit.condition
    reasons = {**before_regress(store, condition, unit.shard), **skip}
    good = [row for row in range(stop - start) if start + row not in reasons]
    images = store.read(condition.restored, start, stop)
    began = time.perf_counter()
    volumes = np.empty((0, *spec.regressors[condition.regressor].shape), np.uint8)
    if condition.regressor in spec.results:
        volumes = np.zeros((stop - start, *volumes.shape[1:]), np.uint8)
        for row in good:

            def step(row: int = row) -> None:
                volumes[row] = _result(spec, store, condition.regressor, start + row)

            _guard(start + row, reasons, step)
        good = list(range(stop - start))
    elif good:
        regressor = get_regressor(condition.regressor).build(usable_device(device), spec.backend)
        volumes = regressor(images[good])
    if len(good) < len(images):
        some, volumes = volumes, np.zeros((len(images), *volumes.shape[1:]), np.uint8)
        volumes[good] = some
    seconds = (time.perf_counter() - began) / max(1, len(good))
    return Made(_rows(start, stop, reasons, seconds), {condition.volume: volumes})


def _score(spec: RunSpec, unit: BenchUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    store = spec.open_store()
    start, stop = spec.span(unit)
    condition = unit.condition
    reasons = {**before_score(spec, store, condition, unit.shard), **skip}
    seconds = seconds_of(spec, store, condition, unit.shard)
    restored = store.read(condition.restored, start, stop)
    known = shard_truth(spec, store, condition.reference(), (start, stop))
    plugin_scores = plugin_scorer(spec, store, condition)
    earlier = earlier_scores(store, condition)
    rows = []
    for row, sample in enumerate(read_table(store.samples_path).slice(start, stop - start).to_pylist()):
        index = start + row
        scores: dict[str, float | None] = {}

        def step(row: int = row, sample: dict[str, Any] = sample, scores: dict = scores) -> None:
            index = start + row
            if sample["sample_id"] in earlier:
                scores.update(earlier[sample["sample_id"]])
                scores.update(plugin_scores(index, sample["truth"], scores))
                return
            scores.update(stages.score_images(known.images[row], restored[row], condition.is_reference))
            if spec.regressors:
                volume = store.read(condition.volume, index, index + 1)[0]
                scores.update(stages.score_volume(volume, *known.face(row, sample["truth"])))
            scores.update(plugin_scores(index, sample["truth"], scores))

        if index not in reasons:
            _guard(index, reasons, step)
        reason, detail = reasons.get(index, (None, None))
        keys = {name: sample[name] for name in ("sample_id", "subset", "yaw_deg", "skin_tone", "truth")}
        eyes = sample["interocular_px"]
        rows.append(
            {
                "run_id": spec.run_id,
                "dataset": spec.dataset.name,
                **keys,
                "interocular_px": eyes and eyes * condition.low_px / NETWORK_PX,
                "degradation": condition.degradation,
                "low_px": condition.low_px,
                "method": condition.method,
                "regressor": condition.regressor,
                **scores,
                "seconds": seconds.get(index),
                "index": index,
                "reason": reason,
                "detail": detail,
            }
        )
    schema = add_metric_columns(SCORE_RESULT, metric_columns(spec.metrics))
    return Made(pa.Table.from_pylist(rows, schema=schema))


def _rows(start: int, stop: int, reasons: Reasons, seconds: float) -> pa.Table:
    """The result of a unit that writes arrays."""
    rows = []
    for index in range(start, stop):
        reason, detail = reasons.get(index, (None, None))
        rows.append({"index": index, "seconds": seconds, "reason": reason, "detail": detail})
    return pa.Table.from_pylist(rows, schema=ARRAY_RESULT)


def _result(spec: RunSpec, store: RunStore, name: str, index: int) -> NDArray[np.uint8]:
    """What another program made of a sample, as a volume."""
    sample = read_table(store.samples_path).slice(index, 1).to_pylist()[0]
    crop = Crop(sample["crop_x0"], sample["crop_y0"], sample["crop_size"])
    truth = read_truth(store, sample["truth"], index)
    topology = spec.dataset.topology()
    return stages.external_volume(spec.results[name], sample["sample_id"], crop, truth, topology)


def _refs(path: Path, start: int, stop: int) -> Iterable[tuple[int, SampleRef]]:
    rows = read_table(path).slice(start, stop - start).to_pylist()
    return ((start + i, SampleRef(**row)) for i, row in enumerate(rows))


def _degraded(spec: RunSpec, unit: BenchUnit) -> list[BenchUnit]:  # noqa: ARG001
    return [Unit("degrade", Condition(), unit.shard)]


def _regressed(spec: RunSpec, unit: BenchUnit) -> list[BenchUnit]:
    return [*_degraded(spec, unit), made_by(unit.condition, unit.shard)]


def _scored(spec: RunSpec, unit: BenchUnit) -> list[BenchUnit]:
    condition = unit.condition
    volumes = [condition, condition.reference()] if spec.regressors else []
    return [*_regressed(spec, unit), *(Unit("regress", source, unit.shard) for source in volumes)]


def _input_arrays(spec: RunSpec, condition: Condition) -> dict[str, ArraySpec]:  # noqa: ARG001
    found = {}
    for name, (shape, dtype, _) in input_arrays(spec).items():
        attributes: dict[str, Any] = {}
        for geometry in spec.geometries():
            if name.endswith(geometry.key):
                attributes = _attributes(geometry)
        found[name] = ArraySpec(shape, dtype, attributes)
    return found


def _restored_array(spec: RunSpec, condition: Condition) -> dict[str, ArraySpec]:  # noqa: ARG001
    return {condition.restored: ArraySpec((NETWORK_PX, NETWORK_PX, 3))}


def _volume_array(spec: RunSpec, condition: Condition) -> dict[str, ArraySpec]:
    geometry = spec.regressors[condition.regressor]
    return {condition.volume: ArraySpec(geometry.shape, attributes=_attributes(geometry))}


def _attributes(geometry: VolumeGeometry) -> dict[str, Any]:
    return {"spacing": list(geometry.spacing), "z_zero": geometry.z_zero}


INGEST, DEGRADE, RESTORE, REGRESS, SCORE = STAGES
BENCH_STAGES: tuple[Stage[RunSpec, Condition], ...] = (
    Stage(INGEST, _ingest),
    Stage(DEGRADE, _degrade, arrays=_input_arrays),
    Stage(RESTORE, _restore, _degraded, _restored_array),
    Stage(REGRESS, _regress, _regressed, _volume_array),
    Stage(SCORE, _score, _scored),
)
"""Every stage of a run, in their order."""
