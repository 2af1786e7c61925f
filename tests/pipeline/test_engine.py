"""The engine under faults: what is lost, what is done again, who is blamed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed.nanny import WorkerProcess
from faulty import FaultyDataset

from facepipe.bench import driver, run_folder
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.core.errors import EnvironmentTroubleError, FacepipeError
from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import connect, open_cluster
from facepipe.pipeline.executor import Engine
from facepipe.pipeline.job import environment_trouble


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with open_cluster("local", 2) as address:
        yield address


def take(
    dataset: FaultyDataset, address: str, out: Path, stages: Sequence[str] = STAGES, **options
) -> RunStore:
    """Run a data set through all stages, or the first ones, without regressors."""
    options = {
        "low_px": "32",
        "methods": "nearest,bilinear",
        "regressors": "none",
        "shard_size": 4,
    } | options
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_folder, "open_dataset", lambda *_, **__: dataset)
        store = driver.prepare(make_config({"dataset": "faulty", "out": out, **options}))
        driver.verify(store, address)
        driver.run_ingest(store, address)
        for shards in driver.shard_batches(store):
            for stage in stages[1:]:
                driver.run_stage(store, stage, shards, address)
        if len(stages) == len(STAGES):
            driver.finish(store)
    return store


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As `take`, into a folder of the test's; the data set is there to be asked afterwards."""

    def start(dataset: FaultyDataset, address: str, out: str = "run", **options) -> RunStore:
        monkeypatch.setattr(run_folder, "open_dataset", lambda *_, **__: dataset)
        return take(dataset, address, tmp_path / out, **options)

    return start


@pytest.fixture(scope="module")
def single() -> Iterator[str]:
    """A cluster of one worker, which does one unit after the other."""
    with open_cluster("local", 1) as address:
        yield address


@pytest.fixture(scope="module")
def undisturbed(address: str, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The scores of all samples of a run without any trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    return scores(take(FaultyDataset(folder), address, folder / "run"))


@pytest.fixture(scope="module")
def without_s05(address: str, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The scores of a run whose s05 is no image."""
    folder = tmp_path_factory.mktemp("without")
    return scores(take(FaultyDataset(folder, rejected=("s05",)), address, folder / "run"))


@pytest.fixture
def traces(tmp_path: Path) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    return folder


def scores(store: RunStore) -> pa.Table:
    return pq.read_table(store.scores_path).drop_columns(["seconds"])


def failures(store: RunStore) -> list[tuple[str, str, str]]:
    rows = pq.read_table(store.failures_path).to_pylist()
    return sorted((row["sample_id"], row["stage"], row["reason"]) for row in rows)


def test_every_sample_is_scored_or_failed(run, traces: Path, address: str) -> None:
    store = run(FaultyDataset(traces, rejected=("s03",), surprising=("s07", "s11")), address)
    table = scores(store)
    assert failures(store) == [
        ("s03", "ingest", "bad-on-purpose"),
        ("s07", "ingest", "unexpected-error"),
        ("s11", "ingest", "unexpected-error"),
    ]
    assert table.num_rows == 9 * 2
    assert len(set(table["sample_id"].to_pylist())) == 9
    assert not store.results_path.exists()
    assert store.read_run()["counts"]["quarantined"] == 3


def test_a_sample_that_kills_its_worker_is_the_only_one_lost(
    run, traces: Path, address: str, without_s05: pa.Table
) -> None:
    dataset = FaultyDataset(traces, fatal=("s05",))
    store = run(dataset, address)
    assert failures(store) == [("s05", "ingest", "worker-died")]
    assert scores(store).num_rows == 11 * 2
    # Twice with its shard, three times alone.
    assert dataset.loads("s05") == 5
    assert without_s05.equals(scores(store))


@pytest.mark.slow
def test_a_sample_that_hangs_is_the_only_one_lost(
    run, traces: Path, address: str, without_s05: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The nanny gives a hanging thread no time to come to its end: here none ever does.
    monkeypatch.setattr(WorkerProcess, "kill", partialmethod(WorkerProcess.kill, executor_wait=False))
    dataset = FaultyDataset(traces, hanging=("s05",), stopping=("s10",))
    run(dataset, address, stages=STAGES[:1], unit_timeout_s=2)
    store = run(dataset, address)
    assert failures(store) == [("s05", "ingest", "timed-out")]
    assert scores(store).num_rows == 11 * 2
    # Twice with its shard, three times alone; s10's worker was stopped once, in mid-unit.
    assert dataset.loads("s05") == 5
    assert dataset.loads("s10") == 3
    assert without_s05.equals(scores(store))


def test_too_little_memory_blames_nobody(run, traces: Path) -> None:
    with (
        open_cluster("local", 1, worker_memory_gb=0.9) as small,
        pytest.raises(EnvironmentTroubleError, match=r"outgrew its memory.*--worker-memory-gb"),
    ):
        run(FaultyDataset(traces, hungry=("s05",)), small)


def test_a_worker_that_dies_once_costs_nothing(run, traces: Path, address: str) -> None:
    store = run(FaultyDataset(traces, once=("s01", "s09")), address)
    assert failures(store) == []
    assert scores(store).num_rows == 12 * 2


def test_a_full_disk_blames_nobody_and_the_run_goes_on_later(run, traces: Path, single: str) -> None:
    (traces / "full").touch()
    dataset = FaultyDataset(traces, disk_full=("s06",))
    with pytest.raises(EnvironmentTroubleError, match="disk is full"):
        run(dataset, single)
    (traces / "full").unlink()
    loads = {name: dataset.loads(name) for name in ("s00", "s06")}
    store = run(dataset, single)
    assert failures(store) == []
    assert scores(store).num_rows == 12 * 2
    # s00's shard was ingested before: only degrading loads it again. s06's shard is ingested again.
    assert dataset.loads("s00") == loads["s00"] + 1
    assert dataset.loads("s06") == loads["s06"] + 2


def test_nothing_usable_is_a_failure_with_reasons(run, traces: Path, address: str) -> None:
    names = tuple(f"s{i:02d}" for i in range(12))
    with pytest.raises(FacepipeError, match=r"none of 12 images is usable \(bad-on-purpose\)"):
        run(FaultyDataset(traces, rejected=names), address)


def test_a_second_run_of_the_same_does_nothing(run, traces: Path, address: str) -> None:
    dataset = FaultyDataset(traces)
    before = run(dataset, address)
    first = scores(before)
    assert dataset.loads("s00") == 2
    assert scores(run(dataset, address)).equals(first)
    assert dataset.loads("s00") == 2


def test_tables_do_not_depend_on_shards_waves_or_workers(
    run, traces: Path, address: str, single: str, undisturbed: pa.Table
) -> None:
    for shard_size, disk_gb in ((1, 50.0), (5, 0.001), (64, 50.0)):
        out = f"shards-{shard_size}"
        options = {"shard_size": shard_size, "disk_gb": disk_gb, "keep": "scores"}
        assert scores(run(FaultyDataset(traces), address, out, **options)).equals(undisturbed)
    assert scores(run(FaultyDataset(traces), single, "single")).equals(undisturbed)


def test_only_scores_are_kept_when_asked(run, traces: Path, address: str) -> None:
    store = run(FaultyDataset(traces), address, keep="scores", disk_gb=0.001)
    assert [path for path in store.zarr_path.rglob("c/*") if path.is_file()] == []
    assert scores(store).num_rows == 24


def test_killed_workers_change_nothing(run, traces: Path, address: str, undisturbed: pa.Table) -> None:
    dataset = FaultyDataset(traces, seconds=0.05)
    stop = threading.Event()

    def monkey() -> None:
        for _ in range(4):
            if stop.wait(0.4):
                return
            with connect(address) as client:
                pids = list(client.run(os.getpid, on_error="ignore").values())
            for pid in pids[:1]:
                os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=monkey)
    thread.start()
    try:
        store = run(dataset, address, "disturbed")
    finally:
        stop.set()
        thread.join()
    assert failures(store) == []
    assert scores(store).equals(undisturbed)


def test_a_lost_scheduler_is_trouble_of_the_environment(run, traces: Path, tmp_path: Path) -> None:
    dataset = FaultyDataset(traces, seconds=1)
    with open_cluster("local", 1) as address:

        def shut_down_in_the_midst() -> None:
            with connect(address) as client:
                while not dataset.loads("s00"):
                    time.sleep(0.01)
                client.shutdown()

        thread = threading.Thread(target=shut_down_in_the_midst)
        thread.start()
        with pytest.raises(EnvironmentTroubleError, match="cluster|scheduler"):
            run(dataset, address)
        thread.join()
    assert not list((tmp_path / "run").rglob("*.tmp"))


@pytest.mark.slow
def test_a_worker_that_dies_again_in_a_bad_moment_comes_back() -> None:
    with open_cluster("local", 1) as address, connect(address) as client:
        for pause_s in (14.7, 2.0):  # Dask looks for a lost worker 15 s after its death
            client.wait_for_workers(1, timeout=120)
            os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
            time.sleep(pause_s)
        client.wait_for_workers(1, timeout=120)
        assert client.submit(os.getpid, pure=False).result(120)


def test_workers_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    others = set(multiprocessing.active_children())
    started = lambda: set(multiprocessing.active_children()) - others  # noqa: E731

    def stop_the_first() -> None:
        while not started():
            time.sleep(0.01)
        os.kill(started().pop().pid, signal.SIGSTOP)

    monkeypatch.setattr("facepipe.pipeline.cluster.START_TIMEOUT_S", 4)
    threading.Thread(target=stop_the_first).start()
    message = "local workers did not start.*repeat the command"
    with pytest.raises(EnvironmentTroubleError, match=message), open_cluster("local", 1):
        pass
    deadline = time.monotonic() + 60
    while started():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EFBIG, "file size limit"),
        (errno.EIO, "the disk failed"),
    ],
)
def test_trouble_of_the_disk_is_named(number: int, what: str) -> None:
    message = rf"^unit: .*{what}.*a/file.*goes on from here"
    with pytest.raises(EnvironmentTroubleError, match=message), environment_trouble("unit"):
        raise OSError(number, os.strerror(number), "a/file")


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.pipeline.cluster.CONNECT_TIMEOUT", "1s")
    with (
        pytest.raises(EnvironmentTroubleError, match="no Dask scheduler answers"),
        connect("tcp://127.0.0.1:9"),
    ):
        pass


def test_networks_go_to_gpu_workers_where_there_are_any(run, traces: Path, address: str) -> None:
    store = run(FaultyDataset(traces), address)
    spec = driver.load_spec(store)

    workers = {"a": {"resources": {"GPU": 1}, "nthreads": 1}, "b": {"resources": {}, "nthreads": 3}}

    class Client:
        def scheduler_info(self, n_workers: int) -> dict:
            return {"workers": workers}

    engine = Engine(Client(), BatchJob(spec, BENCH_STAGES))
    unit = next(spec.units("restore", range(1)))
    assert engine.placement() == "GPU workers"
    assert engine._place(unit) == ("cuda", {"GPU": 1})
    assert engine._slots(unit) == 1
    assert engine._place(replace(unit, stage="score")) == ("cpu", None)
    assert engine._slots(replace(unit, stage="score")) == 4

    # A GPU worker that is lost is waited for: its units do not move to another kind of device.
    del workers["a"]
    assert engine._place(unit) == ("cuda", {"GPU": 1})
    assert engine.placement() == "GPU workers"
    assert Engine(Client(), BatchJob(spec, BENCH_STAGES)).placement() == "CPU workers"
