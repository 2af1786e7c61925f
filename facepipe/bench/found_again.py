"""Photos that were gone when a run looked for them, and are there again when its command is repeated."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from facepipe.bench.completeness import RUNNING
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES, Condition, RunSpec
from facepipe.core.errors import MISSING_FILE, DamageError
from facepipe.core.tables import read_table
from facepipe.datasets.dataset import SampleRef
from facepipe.pipeline.unit import Unit

logger = logging.getLogger("facepipe")

_INGEST = STAGES[0]


def forget_gone(
    store: RunStore, spec: RunSpec, refs: Sequence[SampleRef], run: Mapping[str, Any]
) -> dict[str, Any]:
    """Forget what was made without photos that are there again.

    Before the samples are fixed these are units of ingest; later it is everything, since the samples are
    others then.

    Args:
        store: the run's folder.
        spec: of the run.
        refs: the candidates.
        run: what its run.json says.

    Returns:
        What run.json says then.
    """
    by_id = {ref.sample_id: ref for ref in refs}
    if run["run_id"]:
        gone = _gone_before(store)
        back = [name for name in gone if name in by_id and _is_there(spec, by_id[name])]
        if not back:
            return dict(run)
        logger.warning("%s: %s are there again; the run begins anew", store.path, _named(back))
        # As long as run.json and the failures stand, a command that was killed here begins here again.
        store.delete_results()
        store.delete_arrays()
        kept = {key: value for key, value in run.items() if key not in ("data", "files", "finished")}
        begun = kept | {"status": RUNNING, "run_id": "", "counts": {"candidates": len(refs)}}
        store.write_run(begun)
        for path in (store.samples_path, store.refs_path, store.failures_path, store.scores_path):
            path.unlink(missing_ok=True)
        return begun
    for shard in store.done(_INGEST, Condition()):
        unit = Unit(_INGEST, Condition(), shard)
        with suppress(DamageError):  # a damaged result is made again anyway
            gone = _gone(store.read_result(unit).to_pylist())
            back = [name for name in gone if name in by_id and _is_there(spec, by_id[name])]
            if back:
                logger.warning("%s: %s are there again", store.path, _named(back))
                store.forget(unit)
    return dict(run)


def _gone_before(store: RunStore) -> list[str]:
    """What failures.parquet says was gone; nothing where it is damaged, as it is made again then."""
    try:
        return _gone(read_table(store.failures_path).to_pylist())
    except (OSError, pa.ArrowException):
        return []


def _gone(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row["sample_id"] for row in rows if row["reason"] == MISSING_FILE]


def _is_there(spec: RunSpec, ref: SampleRef) -> bool:
    tree = getattr(spec.dataset, "tree", None)
    if tree is None:
        return False
    try:
        path, size_bytes = tree.place(ref.source_path, ref.size_bytes)
        return bool(path.stat().st_size == size_bytes)
    except OSError:
        return False


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more photos" if len(names) > 3 else "")
