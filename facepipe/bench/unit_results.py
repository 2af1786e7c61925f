"""What units write beside their arrays, and what later units read from it."""

from __future__ import annotations

import pyarrow as pa

from facepipe.bench.spec import Condition, RunSpec
from facepipe.core.schema import SAMPLES, SCORES
from facepipe.pipeline.store import RunStore

UPSTREAM = "upstream"
"""Reason of a sample that an earlier stage quarantined: carried on, not reported again."""

_REASON = [("reason", pa.string()), ("detail", pa.string())]
INGEST_PART = pa.schema([*SAMPLES, *_REASON])
ARRAY_PART = pa.schema(
    [
        ("index", pa.int64()),
        ("array", pa.string()),
        ("crc32", pa.uint32()),
        ("seconds", pa.float64()),
        *_REASON,
    ]
)
SCORE_PART = pa.schema([*SCORES, ("index", pa.int64()), *_REASON])


def made_by(condition: Condition) -> tuple[str, Condition]:
    """The stage and condition that made the image which a regressor sees."""
    if condition.is_reference:
        return "degrade", Condition()
    return "restore", Condition(condition.degradation, condition.low_px, condition.method)


def before_regress(store: RunStore, condition: Condition, shard: int) -> dict[int, tuple[str, str]]:
    """The samples of a shard that never reached a regressor."""
    stage, restored = made_by(condition)
    return upstream(store, stage, restored, shard)


def before_score(
    spec: RunSpec, store: RunStore, condition: Condition, shard: int
) -> dict[int, tuple[str, str]]:
    """The samples of a shard that never reached scoring."""
    if not spec.regressors:
        return before_regress(store, condition, shard)
    reference = upstream(store, "regress", condition.reference(), shard)
    return {**reference, **upstream(store, "regress", condition, shard)}


def seconds_of(spec: RunSpec, store: RunStore, condition: Condition, shard: int) -> dict[int, float]:
    """Seconds that restoring and regressing took, per sample."""
    made = [made_by(condition)] + ([("regress", condition)] if spec.regressors else [])
    total: dict[int, float] = {}
    for stage, source in made:
        if stage == "degrade":
            continue
        part = store.read_part(stage, source.key, shard)
        for index, value in zip(part["index"].to_pylist(), part["seconds"].to_pylist(), strict=True):
            total[index] = total.get(index, 0.0) + value
    return total


def upstream(store: RunStore, stage: str, condition: Condition, shard: int) -> dict[int, tuple[str, str]]:
    """The samples of a shard that a stage quarantined, or that came to it quarantined."""
    part = store.read_part(stage, condition.key, shard)
    pairs = zip(part["index"].to_pylist(), part["reason"].to_pylist(), strict=True)
    return {index: (UPSTREAM, "") for index, reason in pairs if reason is not None}
