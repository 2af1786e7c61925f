"""Workers that differ from the driver: a run stops, says in what, blames no photo, goes on after repair."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from distributed import Client, LocalCluster
from processes import Processes

import facepipe
from facepipe.bench import driver
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.core.errors import EnvironmentTroubleError
from facepipe.models.weights import load_tensors, open_weights, save_weights
from facepipe.models.weights.model_store import shipped_folder
from facepipe.pipeline.cluster.worker_settings import NO_PAGES
from facepipe.pipeline.worker_guard import source_digest, stated_version

PACKAGE = Path(facepipe.__file__).parent
START_S = 120
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT}/tests/support", "PYTHONSAFEPATH": "1"}


class Cluster:
    """A scheduler and workers that are started one by one, each in an environment of its own."""

    def __init__(self, address: str, processes: Processes) -> None:
        self.address = address
        self.processes = processes
        self.started = 0

    def add(self, name: str, *options: object, **environment: str) -> Callable[[], None]:
        """Start a worker and wait until it is there; what is returned ends it."""
        self.started += 1
        process = self.processes.start(
            name, "distributed.cli.dask_worker", self.address, "--name", name, "--nthreads", 1, "--no-nanny",
            "--no-dashboard", *options, **environment,
        )  # fmt: skip
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(self.started, timeout=START_S)

        def end() -> None:
            process.terminate()
            process.wait(START_S)
            self.started -= 1

        return end


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with LocalCluster(n_workers=0, host="127.0.0.1", **NO_PAGES) as scheduler:
        processes = Processes(tmp_path, dict(os.environ) | ENVIRONMENT)
        try:
            yield Cluster(scheduler.scheduler_address, processes)
        finally:
            processes.stop()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), pixels.repeat(20, 0).repeat(20, 1))
    return folder


def prepare(photos: Path, out: Path, methods: str = "bicubic") -> RunStore:
    """A small run without regressors."""
    options = {"low_px": "32", "methods": methods, "regressors": "none", "shard_size": 1}
    return driver.prepare(make_config({"dataset": str(photos), "out": out, **options}))


def bench(photos: Path, out: Path, address: str, methods: str = "bicubic") -> RunStore:
    """All stages of `prepare`'s run."""
    store = prepare(photos, out, methods)
    driver.verify(store, address)
    driver.run_ingest(store, address)
    for shards in driver.shard_batches(store):
        for stage in driver.STAGES[1:]:
            driver.run_stage(store, stage, shards, address)
    driver.finish(store)
    return store


def scores(store: RunStore) -> pa.Table:
    return pq.read_table(store.scores_path).drop_columns(["seconds"])


def failures(store: RunStore) -> list[tuple[str, str]]:
    return [(row["sample_id"], row["reason"]) for row in pq.read_table(store.failures_path).to_pylist()]


@contextmanager
def trouble(*words: str) -> Iterator[None]:
    with pytest.raises(EnvironmentTroubleError) as caught:
        yield
    for word in words:
        assert word in str(caught.value)


def copy_of_package(folder: Path) -> Path:
    """A copy of facepipe in a folder, with the same weights."""
    shutil.copytree(PACKAGE, folder / "facepipe", ignore=shutil.ignore_patterns("__pycache__", "weights"))
    (folder / "facepipe/data/weights").symlink_to(shipped_folder())
    shutil.copytree(PACKAGE / "models/weights", folder / "facepipe/models/weights")
    return folder / "facepipe"


def test_a_worker_of_another_version(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    package = copy_of_package(tmp_path / "other")
    assert source_digest(package) == source_digest(PACKAGE)
    head = package / "__init__.py"
    text, version = head.read_text(), stated_version(package)
    head.write_text(text.replace(version, "0.0.9"))
    end = cluster.add("other-code", PYTHONPATH=str(package.parent))
    named = f"facepipe 0.0.9 at {package}"
    with trouble("other-code", named, f"the driver's {version}", "repeat the command"):
        bench(photos, tmp_path / "run", cluster.address)
    assert not list((tmp_path / "run").glob(".seen-*"))

    # The same version with one other line is no better.
    head.write_text(text + "# patched\n")
    with trouble("other-code", f"facepipe {version} at {package}", "install the driver's there"):
        bench(photos, tmp_path / "run", cluster.address)

    head.write_text(text)
    store = bench(photos, tmp_path / "run", cluster.address)
    assert failures(store) == []
    assert scores(store).num_rows == 4

    # What is in memory counts, until the worker is started again; a worker that joins is asked, too.
    head.write_text(text + "# patched\n")
    end()
    cluster.add("started-later", PYTHONPATH=str(package.parent))
    with trouble("started-later", "install the driver's there"):
        bench(photos, tmp_path / "again", cluster.address)


def test_a_worker_without_facepipe(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "nothing"
    (empty / "facepipe").mkdir(parents=True)
    cluster.add("bare", PYTHONPATH=str(empty))
    with trouble("bare", "facepipe"):
        bench(photos, tmp_path / "run", cluster.address)


def test_other_weights_of_the_same_name(
    cluster: Cluster, photos: Path, tmp_path: Path, facepipe_home: Path
) -> None:
    shipped = open_weights(shipped_folder() / "espcn-x4.safetensors")
    tensors = load_tensors(shipped.path)
    mine = facepipe_home / "weights/mine.safetensors"
    theirs = tmp_path / "their-home/weights/mine.safetensors"
    save_weights(mine, tensors, shipped.info)
    save_weights(theirs, {name: array * 0.9 for name, array in tensors.items()}, shipped.info)
    cluster.add("other-home", FACEPIPE_HOME=str(theirs.parents[1]))
    with trouble("other-home", "the weights of mine@32", "import the same file there"):
        bench(photos, tmp_path / "run", cluster.address, methods="mine")
    theirs.unlink()
    with trouble("other-home", "mine", "import the same there"):
        bench(photos, tmp_path / "run", cluster.address, methods="mine")
    shutil.copy(mine, theirs)
    store = bench(photos, tmp_path / "run", cluster.address, methods="mine")
    assert failures(store) == []
    assert scores(store).num_rows == 4


def test_a_worker_without_the_mount(cluster: Cluster, photos: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    cluster.add("blind", "--preload", "blind", BLIND_TO=str(hidden))
    for folder in (photos, tmp_path / "run"):
        hidden.write_text(str(folder))
        with trouble("blind", str(folder), "mount that folder there", "repeat the command"):
            bench(photos, tmp_path / "run", cluster.address)
    hidden.unlink()
    store = bench(photos, tmp_path / "run", cluster.address)
    assert failures(store) == []
    assert scores(store).num_rows == 4


def test_a_file_that_one_worker_misses_and_one_that_is_gone(
    cluster: Cluster, photos: Path, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    hidden.write_text(str(photos / "2.png"))
    cluster.add("sees")
    cluster.add("misses", "--preload", "blind", BLIND_TO=str(hidden))
    undisturbed = bench(photos, tmp_path / "one-misses", cluster.address)
    assert failures(undisturbed) == []

    store = prepare(photos, tmp_path / "run")
    photo = (photos / "1.png").rename(tmp_path / "1.png")
    driver.run_ingest(store, cluster.address)
    assert failures(store) == [("1", "missing-file")]
    for stage in driver.STAGES[1:]:
        driver.run_stage(store, stage, range(3), cluster.address)
    driver.finish(store)
    assert scores(store).num_rows == 3

    photo.rename(photos / "1.png")
    store = bench(photos, tmp_path / "run", cluster.address)
    assert failures(store) == []
    assert scores(store).equals(scores(undisturbed))
    assert store.read_run()["run_id"] == undisturbed.read_run()["run_id"]
