"""A benchmark run from start to end: prepare or resume it, do its stages, merge its parts.

The state of a run is its folder. Every function here takes it from there, so that the command line and
Prefect's tasks drive the same run, and a run that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facepipe import __version__
from facepipe.cluster import connect
from facepipe.config import BenchConfig, make_config
from facepipe.datasets.base import SampleRef
from facepipe.datasets.catalog import open_dataset
from facepipe.engine import Engine, OnProgress, StageResult
from facepipe.errors import FacepipeError, RunConflictError, UsageError
from facepipe.plan import STAGES, Condition, RunSpec, Unit
from facepipe.schema import FAILURES, SAMPLES, SCORES
from facepipe.store import RunStore, read_table, write_table, write_tables
from facepipe.superres.methods import get_method, resolve_methods
from facepipe.vrn.regressors import get_regressor, resolve_regressors
from facepipe.work import UPSTREAM, input_arrays

logger = logging.getLogger("facepipe")

RECORDED_VERSIONS = (
    "numpy",
    "torch",
    "opencv-python-headless",
    "pillow",
    "scikit-image",
    "zarr",
    "pyarrow",
    "dask",
    "prefect",
)

REFS = pa.schema(
    [
        ("sample_id", pa.string()),
        ("subset", pa.string()),
        ("source_path", pa.string()),
        ("size_bytes", pa.int64()),
    ]
)

COMPLETE = "complete"


# -- preparing ----------------------------------------------------------------------------------------


def prepare(config: BenchConfig) -> RunStore:
    """Create a run's folder, or find the run that this configuration began there.

    Raises:
        UsageError: a name is unknown, the data set is missing or empty.
        RunConflictError: the folder holds a run of another configuration, data set or version.
    """
    store = RunStore(config.folder)
    if config.folder.exists() and not config.folder.is_dir():
        raise UsageError(f"--out {config.folder}: is a file, a folder is needed")
    spec, refs, identity = _resolve(config)
    if store.exists():
        _check_same(store, identity)
        store.sweep_temporary()
        return store
    if config.folder.is_dir() and any(path.name != ".lock" for path in config.folder.iterdir()):
        raise RunConflictError(f"--out {config.folder}: the folder is not empty and holds no run")
    source = spec.dataset.truth_source()
    if source.notice:
        logger.info("%s: %s", spec.dataset.name, source.notice)
    write_table(store.candidates_path, pa.Table.from_pylist([asdict(ref) for ref in refs], schema=REFS))
    store.write_run(
        {
            "status": "running",
            "created": _now(),
            "run_id": "",
            "facepipe": __version__,
            "config": config.model_dump(mode="json"),
            "identity": identity,
            "dataset": spec.dataset.name,
            "truth": source.description,
            "methods": list(spec.methods),
            "regressors": list(spec.regressors),
            "counts": {"candidates": len(refs)},
            "versions": {"python": platform.python_version()}
            | {name: installed_version(name) for name in RECORDED_VERSIONS},
            "machine": platform.machine(),
        }
    )
    return store


def describe(config: BenchConfig) -> RunSpec:
    """Resolve a configuration without creating anything; candidates count as samples."""
    spec, refs, _ = _resolve(config)
    return replace(spec, n_samples=len(refs))


def _resolve(config: BenchConfig) -> tuple[RunSpec, list[SampleRef], dict[str, Any]]:
    methods = tuple(resolve_methods(config.methods, config.low_px))
    regressors = tuple(resolve_regressors(config.regressors))
    spec = _spec(config, methods, regressors)
    refs = spec.dataset.refs()[: config.limit]
    spec = replace(spec, n_candidates=len(refs))
    identity = config.identity() | {
        "dataset": config.dataset if config.dataset == "sample" else str(Path(config.dataset).resolve()),
        "shard_size": config.shard_size,
        "methods": list(methods),
        "regressors": list(regressors),
        "weights": _fingerprints(spec),
        "truth": spec.dataset.truth_source().fingerprint,
        "files": _digest([[ref.sample_id, ref.size_bytes] for ref in refs]),
        "facepipe": __version__,
    }
    return spec, refs, identity


def _spec(config: BenchConfig, methods: tuple[str, ...], regressors: tuple[str, ...]) -> RunSpec:
    dataset = open_dataset(
        config.dataset,
        config.kind,
        subsets=config.subsets,
        min_yaw_deg=config.min_yaw_deg,
        max_yaw_deg=config.max_yaw_deg,
        split=config.split,
        model=config.model,
    )
    if config.crop == "landmarks" and dataset.kind == "photos":
        raise UsageError("--crop landmarks needs landmarks, and plain photos have none: use --crop full")
    return RunSpec(
        path=config.folder.resolve(),
        run_id="",
        dataset=dataset,
        crop=config.crop,
        filling=config.filling,
        seed=config.seed,
        degradations=config.degradations,
        low_px=config.low_px,
        methods=methods,
        regressors={name: get_regressor(name).geometry for name in regressors},
        shard_size=config.shard_size,
        n_candidates=0,
    )


def _fingerprints(spec: RunSpec) -> dict[str, str]:
    """Digests of everything that methods and regressors are made of."""
    found = {
        f"{name}@{px}": get_method(name).fingerprint(px)
        for name in spec.methods
        for px in spec.low_px
        if get_method(name).fits(px)
    }
    return found | {name: get_regressor(name).fingerprint() for name in spec.regressors}


def _check_same(store: RunStore, identity: Mapping[str, Any]) -> None:
    before = store.read_run()["identity"]
    differences = [
        f"{key}: {_short(before.get(key))} -> {_short(identity.get(key))}"
        for key in sorted(before.keys() | identity.keys())
        if before.get(key) != identity.get(key)
    ]
    if differences:
        raise RunConflictError(
            f"{store.path} holds a run of another configuration ({'; '.join(differences)}); "
            "choose another --out, or delete that folder"
        )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def load_spec(store: RunStore) -> RunSpec:
    """Rebuild the specification of a prepared run from its folder."""
    run = store.read_run()
    config = make_config(run["config"] | {"out": store.path}, str(store.run_json_path))
    return replace(
        _spec(config, tuple(run["methods"]), tuple(run["regressors"])),
        run_id=run["run_id"],
        n_candidates=run["counts"]["candidates"],
        n_samples=run["counts"].get("samples", 0),
    )


# -- stages -------------------------------------------------------------------------------------------


def units_to_do(spec: RunSpec, store: RunStore, stage: str, shards: range) -> list[Unit]:
    """The units of a stage that are not done yet; a complete run has none."""
    if is_complete(store):
        return []
    done = {c: store.done_shards(stage, c.key) for c in spec.conditions(stage)}
    return [unit for unit in spec.units(stage, shards) if unit.shard not in done[unit.condition]]


def samples_to_do(store: RunStore, stage: str, shards: range) -> int:
    """How many samples, counted once for each condition, a stage has still to do."""
    spec = load_spec(store)
    spans = (spec.span(unit.shard) for unit in units_to_do(spec, store, stage, shards))
    return sum(stop - start for start, stop in spans)


def candidates_to_do(store: RunStore) -> int:
    """How many candidates ingest has still to look at."""
    spec = load_spec(store)
    units = units_to_do(spec, store, "ingest", spec.candidate_shards)
    spans = (spec.span(unit.shard, spec.n_candidates) for unit in units)
    return sum(stop - start for start, stop in spans)


def is_complete(store: RunStore) -> bool:
    """Whether the run has its tables."""
    return bool(store.read_run()["status"] == COMPLETE)


def run_ingest(store: RunStore, address: str, on_progress: OnProgress | None = None) -> StageResult:
    """Decode and check every candidate; then fix the samples and create the arrays.

    Raises:
        FacepipeError: not one sample is usable.
    """
    spec = load_spec(store)
    if spec.run_id:
        if not is_complete(store):
            create_arrays(spec, store)
        return StageResult()
    result = _run_units(spec, store, "ingest", spec.candidate_shards, address, on_progress)
    _accept(spec, store)
    return result


def run_stage(
    store: RunStore, stage: str, wave: range, address: str, on_progress: OnProgress | None = None
) -> StageResult:
    """Do a stage after ingest for the shards of a wave; after scoring, drop what is not to be kept."""
    spec = load_spec(store)
    result = _run_units(spec, store, stage, wave, address, on_progress)
    if stage == STAGES[-1] and store.read_run()["config"]["keep"] == "scores":
        for name in store.array_names():
            for shard in wave:
                store.delete_shard(name, shard)
    return result


def _run_units(
    spec: RunSpec, store: RunStore, stage: str, shards: range, address: str, on_progress: OnProgress | None
) -> StageResult:
    units = units_to_do(spec, store, stage, shards)
    if not units:
        return StageResult()
    with connect(address) as client:
        engine = Engine(client, spec)
        _check_placement(store, engine.placement())
        return engine.run(units, on_progress)


def _check_placement(store: RunStore, placement: str) -> None:
    """Networks give slightly different results on other devices: one run, one kind of device."""
    run = store.read_run()
    if run.setdefault("networks_on", placement) != placement:
        raise RunConflictError(
            f"{store.path}: this run's networks ran on {run['networks_on']} and the cluster now offers "
            f"{placement}; continue it on a cluster of the first kind, or choose another --out"
        )
    store.write_run(run)


def waves(store: RunStore) -> list[range]:
    """The groups of shards that pass all stages one after the other.

    Raises:
        UsageError: all arrays are to be kept and do not fit the disk budget.
    """
    config = store.read_run()["config"]
    return plan_waves(load_spec(store), config["keep"], config["disk_gb"])


def plan_waves(spec: RunSpec, keep: str, disk_gb: float) -> list[range]:
    """As `waves`, for a run that need not exist."""
    need_gb = spec.bytes_per_sample() * spec.n_samples / 1e9
    if keep == "all" and need_gb > disk_gb:
        raise UsageError(
            f"the arrays of this run take about {need_gb:.1f} GB and --disk-gb allows {disk_gb:g}: "
            "raise it, or keep only tables with --keep scores"
        )
    return spec.waves(disk_gb)


# -- merging ------------------------------------------------------------------------------------------


def _accept(spec: RunSpec, store: RunStore) -> None:
    """Write samples.parquet and failures.parquet, create the arrays, give the run its id."""
    rows: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    seen: set[str] = set()
    candidates = _rows(store, "ingest", Condition())
    for row, ref in zip(candidates, read_table(store.candidates_path).to_pylist(), strict=True):
        if row["reason"] is None and row["sample_id"] not in seen:
            rows.append(row)
            refs.append(ref)
            seen.add(row["sample_id"])
    write_table(store.failures_path, _failures(spec, store, STAGES[:1]))
    run = store.read_run()
    if not rows:
        reasons = sorted({row["reason"] for row in _rows(store, "ingest", Condition())})
        raise FacepipeError(
            f"{spec.dataset.name}: none of {spec.n_candidates} images is usable ({', '.join(reasons)}); "
            f"see {store.failures_path}"
        )
    write_table(store.samples_path, pa.Table.from_pylist(rows, schema=SAMPLES))
    write_table(store.refs_path, pa.Table.from_pylist(refs, schema=REFS))
    spec = replace(spec, n_samples=len(rows))
    create_arrays(spec, store)
    data = _digest([[row["sample_id"], row["sha256"]] for row in rows])
    facts = {key: value for key, value in run["identity"].items() if key not in ("dataset", "shard_size")}
    run["data"] = data
    run["run_id"] = _digest([spec.dataset.name, data, facts])[:12]
    run["counts"] |= {"samples": len(rows), "rejected": spec.n_candidates - len(rows)}
    store.write_run(run)


def create_arrays(spec: RunSpec, store: RunStore) -> None:
    """Create every array of the run at full shape."""
    for name, (shape, dtype, _) in input_arrays(spec).items():
        attributes: dict[str, Any] = {}
        for geometry in spec.geometries():
            if name.endswith(geometry.key):
                attributes = {"spacing": list(geometry.spacing), "z_zero": geometry.z_zero}
        store.create_array(name, (spec.n_samples, *shape), spec.shard_size, dtype, attributes)
    for condition in spec.restore_conditions():
        shape = (spec.n_samples, *input_arrays(spec)["reference"][0])
        store.create_array(condition.restored, shape, spec.shard_size)
    for condition in spec.regress_conditions():
        geometry = spec.regressors[condition.regressor]
        attributes = {"spacing": list(geometry.spacing), "z_zero": geometry.z_zero}
        shape = (spec.n_samples, *geometry.shape)
        store.create_array(condition.volume, shape, spec.shard_size, attributes=attributes)


def finish(store: RunStore) -> dict[str, Any]:
    """Merge the parts into scores.parquet and failures.parquet and call the run complete.

    Returns:
        The run's counts.
    """
    run = store.read_run()
    if run["status"] != COMPLETE:
        spec = load_spec(store)
        n_scores = write_tables(store.scores_path, _scores(spec, store), SCORES)
        failures = _failures(spec, store, STAGES)
        write_table(store.failures_path, failures)
        quarantined = len(set(failures["sample_id"].to_pylist()))
        run["counts"] |= {"scores": n_scores, "failures": failures.num_rows, "quarantined": quarantined}
        run |= {"status": COMPLETE, "finished": _now()}
        store.write_run(run)
    store.delete_parts()
    return dict(run["counts"])


def _scores(spec: RunSpec, store: RunStore) -> Iterator[pa.Table]:
    for condition in spec.score_conditions():
        for part in store.iter_parts("score", condition.key):
            yield part.filter(pc.is_null(part["reason"]))


def _failures(spec: RunSpec, store: RunStore, stages: tuple[str, ...]) -> pa.Table:
    """Every quarantined sample once for each stage and condition that it failed in."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    ids: list[str] = []
    for stage in stages:
        if stage != "ingest" and not ids:
            ids = read_table(store.samples_path)["sample_id"].to_pylist()
        for condition in spec.conditions(stage):
            for row in _rows(store, stage, condition, only_failed=True):
                sample_id = row["sample_id"] if "sample_id" in row else ids[row["index"]]
                name = "" if condition == Condition() else str(condition)
                found[sample_id, stage, name] = {
                    "sample_id": sample_id,
                    "stage": stage,
                    "condition": name,
                    "reason": row["reason"],
                    "detail": row["detail"],
                }
    return pa.Table.from_pylist(list(found.values()), schema=FAILURES)


def _rows(
    store: RunStore, stage: str, condition: Condition, only_failed: bool = False
) -> Iterator[dict[str, Any]]:
    for part in store.iter_parts(stage, condition.key):
        if only_failed:
            reason = part["reason"]
            part = part.filter(  # noqa: PLW2901
                pc.and_(pc.is_valid(reason), pc.not_equal(reason, UPSTREAM))
            )
        yield from part.to_pylist()


def progress_of(store: RunStore) -> list[tuple[str, int, int]]:
    """(stage, units done, units in all) for every stage whose size is known."""
    spec = load_spec(store)
    found = []
    for stage in STAGES:
        shards = spec.candidate_shards if stage == "ingest" else range(spec.n_shards)
        total = len(spec.units(stage, shards))
        found.append((stage, total - len(units_to_do(spec, store, stage, shards)), total))
    return found


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
