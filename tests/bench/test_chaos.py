"""Whatever happens to a benchmark on the way, its tables in the end are those of an undisturbed run."""

from __future__ import annotations

import atexit
import json
import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed.deploy.spec import close_clusters
from monkey import (
    BAD_DISK,
    DAMAGE,
    DISTURBANCES,
    FULL_DISK,
    NANNY,
    SCHEDULER,
    WORKER_SIGNALS,
    Monkey,
    report,
)
from outcomes import check_run
from tended import TendedCluster

from facepipe.pipeline import cluster

SUPPORT = Path(__file__).parents[1] / "support"
CONDITIONS = 2
SEEDS = range(int(os.environ.get("CHAOS_SEEDS", "3")))


def command(traces: Path, run: Path, settings: dict, *options: str) -> list[str]:
    traces.mkdir(exist_ok=True)
    what = ["--low-px", "32", "--methods", "nearest,bilinear", "--regressors", "none", "--shard-size", "3"]
    return [
        *(sys.executable, str(SUPPORT / "chaotic.py"), "bench", str(traces), json.dumps(settings)),
        *(*what, *(options or ("--workers", "2")), "--out", str(run)),
    ]


def undisturbed(tmp_path: Path, settings: dict) -> Path:
    run = tmp_path / "undisturbed"
    done = subprocess.run(
        command(tmp_path / "calm", run, settings), capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(autouse=True)
def quick_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped before it says that it begins is missed after 20 s instead of 300."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "20s")


def test_kills_bad_disks_and_damage_change_nothing(tmp_path: Path) -> None:
    calm = undisturbed(tmp_path, {})
    run, traces = tmp_path / "run", tmp_path / "traces"
    monkey = Monkey(
        command(traces, run, {"seconds": 0.15}), run, random.Random(0), switch=tmp_path / "traces.switch"
    )
    plan = ["kill a worker", "kill the driver", *DAMAGE, FULL_DISK]
    tally = monkey.torment(plan)
    check_run(run, calm, 12 * CONDITIONS, {})
    assert sorted(tally.done) == sorted(plan)
    # Killed, then a full disk, then done.
    assert tally.statuses == [-9, 1, 0]


def test_interrupted_while_its_workers_start_nothing_of_them_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    others, forgotten = set(multiprocessing.active_children()), []

    def start_one(**_: object) -> None:
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)).start()
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster, "LocalCluster", start_one)
    # What Dask would close at the end of this process does not bear it: a traceback.
    monkeypatch.setattr(atexit, "unregister", forgotten.append)
    with pytest.raises(KeyboardInterrupt), cluster.open_cluster("local", 1):
        pass
    assert forgotten == [close_clusters]
    for process in set(multiprocessing.active_children()) - others:
        process.join(60)
    assert set(multiprocessing.active_children()) <= others


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_bad_day(seed: int, tmp_path: Path) -> None:
    n = 60
    lost = {"s07": "worker-died", "s31": "timed-out"}
    calm = undisturbed(tmp_path, {"n": n, "rejected": list(lost)})
    rng = random.Random(seed)
    plan = [[what] for what in [*DISTURBANCES, *DISTURBANCES, *BAD_DISK]]
    plan += [["kill the driver", what] for what in [*DAMAGE, *DAMAGE]]
    rng.shuffle(plan)
    settings = {"n": n, "seconds": 0.2, "fatal": ["s07"], "hanging": ["s31"]}
    run, traces = tmp_path / "run", tmp_path / "traces"
    words = command(traces, run, settings, "--workers", "2", "--unit-timeout-s", "10")
    monkey = Monkey(words, run, rng, 3000, switch=tmp_path / "traces.switch")
    tally = monkey.torment([what for step in plan for what in step])
    check_run(run, calm, (n - len(lost)) * CONDITIONS, lost)
    assert tally.done.total() >= 18
    report(f"seed {seed}", tally, traces)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_cluster_of_ones_own_that_falls_over(seed: int, tmp_path: Path) -> None:
    n = 60
    calm = undisturbed(tmp_path, {"n": n})
    rng = random.Random(seed)
    plan = [SCHEDULER, NANNY, *WORKER_SIGNALS, "kill the driver", FULL_DISK] * 2 + [SCHEDULER]
    rng.shuffle(plan)
    run, traces = tmp_path / "run", tmp_path / "traces"
    with TendedCluster(tmp_path / "cluster") as tended:
        words = command(
            traces, run, {"n": n, "seconds": 0.2}, "--cluster", tended.address, "--unit-timeout-s", "10"
        )
        tally = Monkey(words, run, rng, 3000, cluster=tended).torment(plan)
    check_run(run, calm, n * CONDITIONS, {})
    assert tally.done[SCHEDULER] >= 1
    report(f"seed {seed}", tally, traces)
