"""Find the runs in a folder and read their tables."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from facepipe.bench.run_store import RunStore
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.schema import SCORES
from facepipe.core.tables import read_table
from facepipe.metrics.catalogue import METRICS, Metric

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundRun:
    """A run folder and what its run.json says."""

    store: RunStore
    facts: dict[str, Any]


def open_store(path: Path) -> FoundRun:
    """Open one run.

    Raises:
        UsageError: there is no run.
        FacepipeError: its run.json is damaged; the message says what to do.
    """
    store = RunStore(path)
    return FoundRun(store, store.read_run())


def subfolders(path: Path) -> list[Path]:
    """The folders in a folder, sorted by name; one that may not be entered is left out with a warning.

    Raises:
        UsageError: the folder itself cannot be read.
    """
    found = []
    try:
        for folder in sorted(path.iterdir()):
            if not folder.is_dir():
                continue
            try:
                RunStore(folder).exists()
            except OSError as error:  # an archive is for its owner only
                _log.warning("left out: %s: %s", folder, error.strerror)
            else:
                found.append(folder)
    except OSError as error:
        raise UsageError(f"{path}: the folder cannot be read: {error.strerror}") from error
    return found


def find_runs(path: Path, folders: Sequence[Path] | None = None) -> list[FoundRun]:
    """The run in a folder, or the runs in its subfolders, sorted by name.

    Of several runs, one whose run.json is damaged is left out with a warning.

    Args:
        path: the folder.
        folders: its subfolders that can be read, where they are known.

    Raises:
        UsageError: there is none, or the folder cannot be read.
        FacepipeError: run.json is damaged, that of the only run or those of all.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; expected a run, or a folder that holds runs")
    inside = subfolders(path) if folders is None else folders
    if RunStore(path).exists():
        return [open_store(path)]
    folders = [folder for folder in inside if RunStore(folder).exists()]
    if not folders:
        raise UsageError(
            f"{path}: no run here; a run folder holds run.json, samples.parquet, failures.parquet and "
            "scores.parquet. `facepipe bench --out RUN` makes one"
        )
    runs, troubles = [], []
    for folder in folders:
        try:
            runs.append(open_store(folder))
        except FacepipeError as error:
            troubles.append(error)
    if not runs:
        raise troubles[0]
    for trouble in troubles:
        _log.warning("left out: %s", trouble)
    return runs


def has_runs(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a folder is a run, or one of its subfolders is."""
    return any(RunStore(folder).exists() for folder in (path, *folders))


def read_run_table(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a table of a run.

    Args:
        path: its file.
        schema: what a missing file stands for: no rows of these columns. Without it the file must be there.

    Raises:
        FacepipeError: it is damaged or missing; the message says what to do.
    """
    if schema is not None and not path.is_file():
        return schema.empty_table()
    try:
        return read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise FacepipeError(
            f"{path}: not a readable Parquet file ({reason}); repeat the command that made the run, "
            "which writes it again"
        ) from error


def read_scores(path: Path) -> pa.Table:
    """The scores of a run, or of all runs in a folder; no rows where none is complete.

    Raises:
        UsageError: there is no run.
        FacepipeError: run.json or the scores are damaged.
    """
    return concatenate([read_run_table(run.store.scores_path, SCORES) for run in find_runs(path)], SCORES)


def read_metrics(path: Path) -> dict[str, Metric]:
    """What the metrics of a run, or of all runs in a folder, mean, by column; plug-ins need not be installed.

    Raises:
        UsageError: there is no run.
        FacepipeError: run.json is damaged.
    """
    names = [field.name for field in fields(Metric)]
    described = [metric for run in find_runs(path) for metric in run.facts.get("metrics", [])]
    return METRICS | {one["name"]: Metric(**{name: one[name] for name in names}) for one in described}


def concatenate(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    """Put tables one below the other, after no rows of a schema; columns that one lacks are null."""
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")
