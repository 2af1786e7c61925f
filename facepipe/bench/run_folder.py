"""Create the folder of a run, or open it again."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version as installed_version
from typing import Any, cast

import pyarrow as pa

from facepipe import __version__
from facepipe.bench.completeness import COMPLETE, DAMAGED, RUNNING, damaged_tables, unpack_results
from facepipe.bench.config import BenchConfig, make_config
from facepipe.bench.external_results import ExternalResults, check_names, geometry_of, open_results
from facepipe.bench.found_again import forget_gone
from facepipe.bench.identity import check_same, identity_of
from facepipe.bench.plugin_use import plugin_facts, with_plugins
from facepipe.bench.rescore import rescoring
from facepipe.bench.result_checks import CHECKED_SAMPLES, CheckedSample, check_results, checked_sample
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import RunSpec
from facepipe.bench.stages import truth_in_crop
from facepipe.core.errors import RunConflictError, SampleError, UsageError, printable
from facepipe.core.files import file_digest
from facepipe.core.tables import write_table
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import SampleRef
from facepipe.metrics import alignment
from facepipe.models.superres.methods import resolve_methods
from facepipe.models.vrn.backends import PACKAGES, Backend, check_backend
from facepipe.models.vrn.regressors import get_regressor, resolve_regressors

logger = logging.getLogger("facepipe")

RECORDED_VERSIONS = (
    "numpy",
    "onnxruntime",
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

HOW_FIELDS = ("cluster", "workers", "keep", "disk_gb", "unit_timeout_s", "worker_memory_gb")
"""What a later command may say otherwise: the run goes on as it says."""

_FACTS = {
    "status": str,
    "run_id": str,
    "config": dict,
    "identity": dict,
    "methods": list,
    "regressors": list,
    "counts": dict,
}


def prepare(config: BenchConfig) -> RunStore:
    """Create a run's folder, or find the run that this configuration began there.

    A complete run of which a table is damaged or missing, or whose arrays were dropped and are asked for
    now, goes on: only what is missing is done.

    Raises:
        UsageError: a name is unknown, the data set is missing or empty.
        RunConflictError: the folder holds a run of another configuration, data set or version.
        FacepipeError: the run's run.json is damaged.
    """
    store = RunStore(config.folder)
    if config.folder.exists() and not config.folder.is_dir():
        raise UsageError(f"--out {config.folder}: is a file, a folder is needed")
    spec, refs, identity = _resolve(config)
    if store.exists():
        facts = read_facts(store)
        check_same(store.path, facts["identity"], identity)
        rescored = rescoring(store, facts, spec)
        store.sweep_temporary()
        facts = forget_gone(store, spec, refs, facts)
        _reopen(
            store,
            config,
            refs,
            facts,
            {} if rescored is None else {"rescored": rescored} | plugin_facts(spec),
        )
        return store
    if config.folder.is_dir() and any(path.name != ".lock" for path in config.folder.iterdir()):
        raise RunConflictError(f"--out {config.folder}: the folder is not empty and holds no run")
    source = spec.dataset.truth_source()
    if source.notice:
        logger.info("%s: %s", spec.dataset.name, source.notice)
    for passed in source.passed_over:
        logger.warning("%s: passed over: %s", spec.dataset.name, printable(str(passed)))
    _write_candidates(store, refs)
    store.write_run(
        {
            "status": RUNNING,
            "created": now(),
            "run_id": "",
            "facepipe": __version__,
            "config": config.model_dump(mode="json"),
            "identity": identity,
            "dataset": spec.dataset.name,
            "truth": source.description,
            "alignment": alignment.described(),
            "methods": list(spec.methods),
            "regressors": spec.networks,
            "results": {name: results.as_json() for name, results in spec.results.items()},
            "counts": {"candidates": len(refs)},
            "versions": {"python": platform.python_version()}
            | {name: installed_version(name) for name in (*RECORDED_VERSIONS, PACKAGES[spec.backend])},
            "machine": platform.machine(),
        }
        | plugin_facts(spec)
    )
    return store


def describe(config: BenchConfig) -> RunSpec:
    """Resolve a configuration without creating anything; candidates count as samples.

    Raises:
        UsageError, RunConflictError: as `prepare` would.
    """
    spec, refs, identity = _resolve(config)
    if config.out is not None and (store := RunStore(config.out)).exists():
        check_same(store.path, read_facts(store)["identity"], identity)
    return replace(spec, n_samples=len(refs))


def load_spec(store: RunStore) -> RunSpec:
    """Rebuild the specification of a prepared run from its folder; once for each state of its run.json.

    Raises:
        UsageError: the folder is no run.
        FacepipeError: its run.json is damaged.
    """
    try:
        state = store.run_json_path.stat()
    except OSError as error:
        raise UsageError(f"{store.path}: no run here: {error.strerror}") from error
    return _spec_of(store, state.st_ino, state.st_mtime_ns)


# Opening a data set lists it (a second for 100,000 images), and every stage of every batch of shards asks.
@lru_cache(maxsize=4)
def _spec_of(store: RunStore, inode: int, mtime_ns: int) -> RunSpec:  # noqa: ARG001 - part of the key
    run = read_facts(store)
    config = make_config(run["config"] | {"out": store.path}, str(store.run_json_path))
    results = (ExternalResults.from_json(name, values) for name, values in run.get("results", {}).items())
    return replace(
        _with_results(_spec(config, tuple(run["methods"]), tuple(run["regressors"])), results),
        run_id=run["run_id"],
        n_candidates=run["counts"]["candidates"],
        n_samples=run["counts"].get("samples", 0),
        weights=run["identity"]["weights"],
    )


def is_complete(store: RunStore) -> bool:
    """Whether the run has its tables."""
    return bool(store.read_run()["status"] == COMPLETE)


def read_facts(store: RunStore) -> dict[str, Any]:
    """Read run.json and check that it says everything that going on with a run needs.

    Raises:
        UsageError: the folder is no run.
        FacepipeError: run.json is damaged.
    """
    run = store.read_run()
    lacking = [key for key, kind in _FACTS.items() if not isinstance(run.get(key), kind)]
    if lacking or not isinstance(run["counts"].get("candidates"), int):
        raise store.damaged(f"{', '.join(lacking) or 'counts'} is missing or of a wrong type")
    return run


def is_accepted(store: RunStore) -> bool:
    """Whether the samples of a run are fixed, and its lists of them are those that were written then."""
    run = read_facts(store)
    files = {str(path.relative_to(store.path)): path for path in (store.samples_path, store.refs_path)}
    known = run.get("files", {}) if run["run_id"] else {}
    return all(file_digest(path) == known.get(key) is not None for key, path in files.items())


def _reopen(
    store: RunStore,
    config: BenchConfig,
    refs: list[SampleRef],
    run: dict[str, Any],
    rescored: Mapping[str, Any],
) -> None:
    """Reopen a run that is not complete, is damaged or gets other metrics, as the configuration says.

    Args:
        store: the run's folder.
        config: the configuration at hand.
        refs: the candidates.
        run: what run.json says.
        rescored: what run.json says of other metrics, nothing where they are the same.
    """
    if run["status"] == COMPLETE:
        damaged = damaged_tables(store, run) if "files" in run else []
        wanted = run["config"].get("keep") == "scores" and config.keep == "all"
        if not damaged and not wanted and not rescored:
            return
        if damaged:
            logger.warning("%s: %s damaged or missing; made again", store.path, ", ".join(damaged))
    if run["status"] in (COMPLETE, DAMAGED):
        units = store.units_path
        if run.get("files", {}).get(units.name) == file_digest(units) is not None:
            logger.info("%s: %d units of arrays to be verified", store.path, unpack_results(store))
    _write_candidates(store, refs)
    run["config"] |= config.model_dump(mode="json", include={*HOW_FIELDS, "metrics"})
    if rescored:
        run = {key: value for key, value in run.items() if key not in ("plugins", "metrics")}
    store.write_run(run | {"status": RUNNING} | dict(rescored))


def _write_candidates(store: RunStore, refs: list[SampleRef]) -> None:
    write_table(store.candidates_path, pa.Table.from_pylist([asdict(ref) for ref in refs], schema=REFS))


def _resolve(config: BenchConfig) -> tuple[RunSpec, list[SampleRef], dict[str, Any]]:
    check_backend(config.backend)
    regressors = tuple(resolve_regressors(config.regressors))
    restores = regressors or not config.results
    methods = tuple(resolve_methods(config.methods, config.low_px)) if restores else ()
    spec = _spec(config, methods, regressors)
    refs = spec.dataset.refs()[: config.limit]
    spec = _with_results(replace(spec, n_candidates=len(refs)), _open_results(config, spec, refs))
    identity = identity_of(config, spec, refs)
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
        raise UsageError(
            "--crop landmarks needs landmarks, and plain photos have none: use --crop face or full"
        )
    spec = RunSpec(
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
        metrics=config.metrics,
        backend=cast("Backend", config.backend),  # which one auto is, the configuration has found out
        keep=config.keep,
        shard_size=config.shard_size,
        n_candidates=0,
    )
    return with_plugins(spec)


def _with_results(spec: RunSpec, results: Iterable[ExternalResults]) -> RunSpec:
    """Add results of other programs to a specification.

    Raises:
        UsageError: two have one name, or one has that of a regressor.
    """
    for one in results:
        if one.name in spec.regressors:
            raise UsageError(f"--results {one.name}: this name is taken; choose another NAME=FOLDER")
        geometries = {**spec.regressors, one.name: one.geometry}
        spec = replace(spec, regressors=geometries, results={**spec.results, one.name: one})
    return spec


def _open_results(config: BenchConfig, spec: RunSpec, refs: list[SampleRef]) -> Iterator[ExternalResults]:
    """The results that a configuration names: checked, or read as the run that is there reads them."""
    store = RunStore(config.folder)
    known = store.read_run().get("results", {}) if config.results and store.exists() else {}
    for text in config.results:
        name, folder = open_results(text)
        results = ExternalResults(name, folder, "image", geometry_of(folder))
        before = known.get(name, {})
        if before.get("folder") == str(folder):
            yield replace(results, frame=before["frame"])
            continue
        ids = [ref.sample_id for ref in refs]
        check_names(results, ids)
        checked = check_results(results, list(_checked_samples(spec, refs, results)), config.frame)
        logger.info("%s: %d files, read as --frame %s", folder, len(results.files()), checked.frame)
        yield checked


def _checked_samples(
    spec: RunSpec, refs: list[SampleRef], results: ExternalResults
) -> Iterator[CheckedSample]:
    """Some samples that have a result and a truth with depth."""
    there = [ref for ref in refs if results.has(ref.sample_id)]
    for ref in there[:: max(1, len(there) // CHECKED_SAMPLES)]:
        try:
            sample = spec.dataset.load(ref)
            crop = crop_for(sample, spec.crop)
        except SampleError:
            continue
        truth = truth_in_crop(sample.truth, crop)
        if found := checked_sample(ref.sample_id, crop, truth, spec.dataset.topology()):
            yield found


def now() -> str:
    """The time in UTC, as tables write it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
