"""Metrics of plug-ins that come to a finished run: only their columns are computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from facepipe.bench.completeness import COMPLETE
from facepipe.bench.plugin_use import Scores, described_metric
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import Condition, RunSpec
from facepipe.core.errors import RunConflictError
from facepipe.core.files import file_digest
from facepipe.core.schema import CONDITION_COLUMNS, METRIC_COLUMNS
from facepipe.core.tables import read_table


def rescoring(store: RunStore, facts: Mapping[str, Any], spec: RunSpec) -> dict[str, Any] | None:
    """What run.json says of a finished run that gets other plug-in metrics; None where they are the same.

    Args:
        store: the run's folder.
        facts: its run.json.
        spec: of the configuration at hand.

    Raises:
        RunConflictError: they differ, and the run is not complete or its arrays are gone.
    """
    before = {metric["plugin"]: metric for metric in facts.get("metrics", [])}
    now = {name: described_metric(name) for name in spec.metrics}
    if before == now:
        return None
    names = " -> ".join(", ".join(some) or "none" for some in (before, now))
    if facts["status"] != COMPLETE:
        raise RunConflictError(
            f"{store.path} holds an unfinished run of other metrics ({names}): finish it first, or choose "
            "another --out"
        )
    if not store.zarr_path.exists() or facts["config"].get("keep") != "all":
        raise RunConflictError(
            f"{store.path}: other metrics than it has ({names}), and the arrays that they need are gone; "
            "choose another --out"
        )
    kept = [metric["name"] for name, metric in before.items() if now.get(name) == metric]
    return {"scores_sha256": file_digest(store.scores_path), "columns": kept}


def earlier_scores(store: RunStore, condition: Condition) -> dict[str, Scores]:
    """The metrics that a condition's rows had before the run got other plug-in metrics, by sample.

    Empty for a run that is scored for the first time, and where its table is not what it was.
    """
    facts = store.read_run().get("rescored")
    if not facts or _digest(store.scores_path) != facts["scores_sha256"]:
        return {}
    table = read_table(store.scores_path)
    for name in CONDITION_COLUMNS:
        table = table.filter(pc.equal(table[name], getattr(condition, name)))
    columns = [*METRIC_COLUMNS, *facts["columns"]]
    rows = table.select(["sample_id", *columns]).to_pylist()
    return {row["sample_id"]: {name: row[name] for name in columns} for row in rows}


def _digest(path: Path) -> str | None:
    return file_digest(path) if path.is_file() else None
