"""Read what units of earlier stages recorded beside their arrays."""

from __future__ import annotations

from facepipe.bench.spec import Condition, RunSpec, made_by
from facepipe.pipeline.batch_store import BatchStore
from facepipe.pipeline.stage import UPSTREAM
from facepipe.pipeline.unit import Unit


def before_regress(store: BatchStore, condition: Condition, shard: int) -> dict[int, tuple[str, str]]:
    """The samples of a shard that never reached a regressor."""
    return upstream(store, made_by(condition, shard))


def before_score(
    spec: RunSpec, store: BatchStore, condition: Condition, shard: int
) -> dict[int, tuple[str, str]]:
    """The samples of a shard that never reached scoring."""
    if not spec.regressors:
        return before_regress(store, condition, shard)
    reference = upstream(store, Unit("regress", condition.reference(), shard))
    return {**reference, **upstream(store, Unit("regress", condition, shard))}


def seconds_of(spec: RunSpec, store: BatchStore, condition: Condition, shard: int) -> dict[int, float]:
    """Seconds that restoring and regressing took, per sample."""
    made = [made_by(condition, shard)]
    if spec.regressors:
        made.append(Unit("regress", condition, shard))
    total: dict[int, float] = {}
    for unit in made:
        if unit.stage == "degrade":
            continue
        rows = store.read_result(unit)
        for index, value in zip(rows["index"].to_pylist(), rows["seconds"].to_pylist(), strict=True):
            total[index] = total.get(index, 0.0) + value
    return total


def upstream(store: BatchStore, unit: Unit[Condition]) -> dict[int, tuple[str, str]]:
    """The samples that a unit quarantined, or that came to it quarantined."""
    rows = store.read_result(unit)
    pairs = zip(rows["index"].to_pylist(), rows["reason"].to_pylist(), strict=True)
    return {index: (UPSTREAM, "") for index, reason in pairs if reason is not None}
