"""Whatever happens on the way, the tables in the end are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from monkey import DAMAGE, DISTURBANCES, Monkey, Tally

HERE = Path(__file__).parent
CONDITIONS = 2


def command(traces: Path, run: Path, settings: dict) -> list[str]:
    traces.mkdir(exist_ok=True)
    options = ["--low-px", "32", "--methods", "nearest,bilinear", "--regressors", "none", "--shard-size", "3"]
    return [
        *(sys.executable, str(HERE / "chaotic.py"), str(traces), json.dumps(settings)),
        *(*options, "--workers", "2", "--unit-timeout-s", "3", "--out", str(run)),
    ]


def undisturbed(tmp_path: Path, settings: dict) -> Path:
    run = tmp_path / "undisturbed"
    done = subprocess.run(
        command(tmp_path / "calm", run, settings), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    return run


def tables(run: Path) -> tuple[pa.Table, pa.Table]:
    scores = pq.read_table(run / "scores.parquet").drop_columns(["seconds"])
    return scores, pq.read_table(run / "samples.parquet")


def check(run: Path, calm: Path, n: int, lost: dict[str, str]) -> None:
    """Nothing lost, nothing double, everybody accounted for, nothing left behind."""
    scores, samples = tables(run)
    expected_scores, expected_samples = tables(calm)
    assert scores.equals(expected_scores)
    assert samples.equals(expected_samples)
    keys = list(zip(scores["sample_id"].to_pylist(), scores["method"].to_pylist(), strict=True))
    assert len(set(keys)) == len(keys) == (n - len(lost)) * CONDITIONS
    failures = pq.read_table(run / "failures.parquet").to_pylist()
    assert {row["sample_id"]: row["reason"] for row in failures} == lost
    left = [p for p in run.rglob("*") if p.name.endswith((".tmp", ".partial"))]
    assert left == [] and not (run / "parts").exists()


@pytest.fixture(autouse=True)
def quick_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped before it says that it begins is missed after 20 s instead of 300."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "20s")


def test_kills_a_full_disk_and_damage_change_nothing(tmp_path: Path) -> None:
    calm = undisturbed(tmp_path, {})
    run = tmp_path / "run"
    monkey = Monkey(command(tmp_path / "traces", run, {"seconds": 0.15}), run, random.Random(0))
    plan = ["kill a worker", "kill the driver", *DAMAGE, "fill the disk"]
    tally = monkey.torment(plan)
    check(run, calm, 12, {})
    assert sorted(tally.done) == sorted(plan)
    # Killed, then a full disk, then done.
    assert tally.statuses == [-9, 1, 0]


@pytest.mark.chaos
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(int(os.environ.get("CHAOS_SEEDS", "3"))))
def test_a_long_bad_day(seed: int, tmp_path: Path) -> None:
    n = 60
    lost = {"s07": "worker-died", "s31": "timed-out"}
    calm = undisturbed(tmp_path, {"n": n, "rejected": list(lost)})
    rng = random.Random(seed)
    plan = [[what] for what in [*DISTURBANCES, *DISTURBANCES]]
    plan += [["kill the driver", what] for what in [*DAMAGE, *DAMAGE]]
    rng.shuffle(plan)
    settings = {"n": n, "seconds": 0.2, "fatal": ["s07"], "hanging": ["s31"]}
    run = tmp_path / "run"
    tally = Monkey(command(tmp_path / "traces", run, settings), run, rng, 1000).torment(
        [what for step in plan for what in step]
    )
    check(run, calm, n, lost)
    assert tally.done.total() >= 16
    report(seed, tally, tmp_path / "traces")


def report(seed: int, tally: Tally, traces: Path) -> None:
    loads = sum(len(trace.read_text().split()) for trace in traces.iterdir())
    done = ", ".join(f"{what} {count}" for what, count in sorted(tally.done.items()))
    print(
        f"\nseed {seed}: {tally.runs} runs, exits {tally.statuses}; {done}; {len(tally.written)} units, "
        f"{tally.again} parts written again, {loads} images loaded"
    )
