"""Merge the results of units: into the list of samples after ingest, into the tables at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.bench.completeness import (
    COMPLETE,
    array_results,
    count_quarantined,
    pack_results,
    table_digests,
)
from facepipe.bench.identity import digest
from facepipe.bench.plugin_use import add_metric_columns, metric_columns
from facepipe.bench.run_folder import REFS, load_spec, now
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES, BenchUnit, Condition, RunSpec
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.core.errors import FacepipeError, RunConflictError
from facepipe.core.files import file_digest
from facepipe.core.schema import FAILURES, SAMPLES, SCORES
from facepipe.core.tables import read_table, write_table, write_tables
from facepipe.pipeline import stage
from facepipe.pipeline.stage import UPSTREAM

_INGEST = STAGES[0]


def accept(spec: RunSpec, store: RunStore) -> None:
    """Write samples.parquet and failures.parquet, create the arrays, give the run its id.

    Raises:
        FacepipeError: not one sample is usable.
        RunConflictError: this was done before, and the data set's images have changed since.
        EnvironmentTroubleError: a unit's result is missing or damaged.
    """
    failures = _Failures()
    rows = list(_accepted(spec, store, failures))
    candidates = read_table(store.candidates_path).to_pylist()
    refs = [candidates[row.pop("index")] for row in rows]
    write_table(store.failures_path, failures.table())
    run = store.read_run()
    if not rows:
        reasons = sorted(set(failures.table()["reason"].to_pylist()))
        raise FacepipeError(
            f"{spec.dataset.name}: none of {spec.n_candidates} images is usable ({', '.join(reasons)}); "
            f"see {store.failures_path}"
        )
    data = digest([[row["sample_id"], row["sha256"]] for row in rows])
    if run.get("data", data) != data:
        raise RunConflictError(
            f"{store.path}: images of {spec.dataset.name} have changed since this run began; put them back, "
            "or choose another --out"
        )
    write_table(store.samples_path, pa.Table.from_pylist(rows, schema=SAMPLES))
    write_table(store.refs_path, pa.Table.from_pylist(refs, schema=REFS))
    spec = replace(spec, n_samples=len(rows))
    create_arrays(spec)
    facts = {key: value for key, value in run["identity"].items() if key not in ("dataset", "shard_size")}
    run["data"] = data
    run["run_id"] = digest([spec.dataset.name, data, facts])[:12]
    run["counts"] |= {"samples": len(rows), "rejected": spec.n_candidates - len(rows)}
    written = (store.samples_path, store.refs_path)
    run["files"] = {**run.get("files", {})} | {
        str(path.relative_to(store.path)): file_digest(path) for path in written
    }
    store.write_run(run)


def create_arrays(spec: RunSpec) -> None:
    """Create every array of the run at full shape."""
    for declared in BENCH_STAGES:
        stage.create_arrays(spec, declared, spec.conditions(declared.name), spec.n_samples, spec.shard_size)


def finish(store: RunStore) -> dict[str, Any]:
    """Merge the results of units into scores.parquet and failures.parquet and call the run complete.

    Returns:
        The run's counts.

    Raises:
        EnvironmentTroubleError: a unit's result is missing or damaged; all of them stay.
    """
    run = store.read_run()
    if run["status"] != COMPLETE:
        spec = load_spec(store)
        failed = _Failures(read_table(store.samples_path)["sample_id"].to_pylist())
        deque(_accepted(spec, store, failed), maxlen=0)  # what was rejected is noted on the way
        if run["config"]["keep"] == "all":
            pack_results(spec, store, failed.note)
        else:
            for unit, rows in array_results(spec, store):
                failed.note(unit, rows)
        schema = add_metric_columns(SCORES, metric_columns(spec.metrics))
        n_scores = write_tables(store.scores_path, _scores(spec, store, failed), schema)
        failures = failed.table()
        write_table(store.failures_path, failures)
        quarantined = count_quarantined(failures)
        run["counts"] |= {"scores": n_scores, "failures": failures.num_rows, "quarantined": quarantined}
        run |= {"status": COMPLETE, "finished": now(), "files": table_digests(store)}
        store.write_run(run)
    store.delete_results()
    return dict(run["counts"])


def _scores(spec: RunSpec, store: RunStore, failed: _Failures) -> Iterator[pa.Table]:
    for unit in spec.units("score", range(spec.n_shards)):
        rows = store.read_result(unit)
        failed.note(unit, rows)
        yield rows.filter(pc.is_null(rows["reason"]))


def _accepted(spec: RunSpec, store: RunStore, failed: _Failures) -> Iterator[dict[str, Any]]:
    """The rows of ingest that are samples, each with its `index` among the candidates; note all others.

    Of images with the same id the first is the sample. Readers reject most of the others, and see neither
    those whose extensions differ in odd ways nor two members of one name in an archive.
    """
    first: dict[str, str] = {}
    index = 0
    for unit in spec.units(_INGEST, spec.candidate_shards):
        for row in store.read_result(unit).to_pylist():
            sample_id, path = row["sample_id"], row["source_path"]
            if row["reason"] is None and sample_id in first:
                row["reason"] = "duplicate-id"
                row["detail"] = (
                    f"{path}: {first[sample_id]} has the same id {sample_id!r} and comes first; rename one"
                )
            if row["reason"] is None:
                first[sample_id] = path
                yield row | {"index": index}
            else:
                failed.reject(index, row)
            index += 1


class _Failures:
    """Every rejected candidate, and every quarantined sample once for each stage and condition.

    Candidates are told apart by their place and not by their id, which several may have. It is shown
    results as they are read for something else: reading is most of what merging costs.

    Args:
        ids: of the samples, by index.
    """

    def __init__(self, ids: Sequence[str] = ()) -> None:
        self._ids = ids
        self._found: dict[tuple[int, str, str], dict[str, Any]] = {}

    def reject(self, index: int, row: Mapping[str, Any]) -> None:
        """Take a row of ingest: a candidate that is no sample, by its place among the candidates."""
        self._add(index, row["sample_id"], _INGEST, "", row)

    def note(self, unit: BenchUnit, rows: pa.Table) -> None:
        """Take what a unit of a later stage says of quarantined samples."""
        reason = rows["reason"]
        if reason.null_count == len(reason):
            return
        name = "" if unit.condition == Condition() else str(unit.condition)
        for row in rows.filter(pc.and_(pc.is_valid(reason), pc.not_equal(reason, UPSTREAM))).to_pylist():
            self._add(row["index"], self._ids[row["index"]], unit.stage, name, row)

    def _add(self, index: int, sample_id: str, stage: str, condition: str, row: Mapping[str, Any]) -> None:
        self._found[index, stage, condition] = {
            "sample_id": sample_id,
            "stage": stage,
            "condition": condition,
            "reason": row["reason"],
            "detail": row["detail"],
        }

    def table(self) -> pa.Table:
        """What was found, as failures.parquet has it."""
        return pa.Table.from_pylist(list(self._found.values()), schema=FAILURES)
