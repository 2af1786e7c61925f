"""Small runs written by hand, whose tables are known."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from facepipe.bench.run_store import RunStore
from facepipe.core.schema import FAILURES, SAMPLES, SCORES
from facepipe.core.tables import write_table


def row(sample, method="bilinear", low_px=16, regressor="none", degradation="area", run_id="r1", **values):
    keys = {"run_id": run_id, "dataset": "d", "sample_id": sample, "subset": values.pop("subset", "")}
    condition = {"degradation": degradation, "low_px": low_px, "method": method, "regressor": regressor}
    return keys | condition | {"truth": "none"} | values


def scores(*rows):
    return pa.Table.from_pylist(list(rows), schema=SCORES)


def write_run(path: Path, table: pa.Table, run_id: str = "r1", status: str = "complete") -> RunStore:
    store = RunStore(path)
    store.write_run(
        {
            "status": status,
            "created": "2026-01-01T00:00:00+00:00",
            "run_id": run_id,
            "facepipe": "9.9",
            "dataset": "d",
            "config": {"seed": 7},
            "identity": {"weights": {"bilinear@16": "abc"}},
            "versions": {"numpy": "2"},
            "counts": {"samples": 2},
        }
    )
    samples = [{"sample_id": name, "truth": "none"} for name in sorted(set(table["sample_id"].to_pylist()))]
    write_table(store.samples_path, pa.Table.from_pylist(samples, schema=SAMPLES))
    failures = [{"sample_id": "bad", "stage": "ingest", "condition": "", "reason": "empty-file"}]
    write_table(store.failures_path, pa.Table.from_pylist(failures, schema=FAILURES))
    if status == "complete":
        write_table(store.scores_path, table)
    return store


TWO = scores(
    row("a", psnr_db=20.0, ssim=0.5),
    row("b", psnr_db=30.0, ssim=0.7),
    row("a", "bicubic", psnr_db=21.0, ssim=0.6),
    row("b", "bicubic", psnr_db=33.0, ssim=0.6),
)
