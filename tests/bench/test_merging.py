"""What becomes of every candidate: it is a sample, or it has a row that says why not."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster
from PIL import Image

from facepipe.bench import driver
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES, Condition
from facepipe.core.errors import EnvironmentTroubleError
from facepipe.pipeline.cluster.worker_settings import NO_PAGES
from facepipe.pipeline.unit import Unit
from facepipe.report.page import write_report


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster in this process: nothing dies here."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **NO_PAGES) as cluster:
        yield cluster.scheduler_address


def begin(dataset: Path, out: Path, address: str) -> RunStore:
    """Take photos through all stages, in shards of two."""
    options = {"low_px": "32", "methods": "nearest", "regressors": "none", "shard_size": 2}
    store = driver.prepare(make_config({"dataset": str(dataset), "out": out, **options}))
    driver.run_ingest(store, address)
    for shards in driver.shard_batches(store):
        for stage in STAGES[1:]:
            driver.run_stage(store, stage, shards, address)
    return store


def picture(seed: int, suffix: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels.repeat(8, 0).repeat(8, 1)).save(file, suffix)
    return file.getvalue()


def failures(store: RunStore) -> list[tuple[str, str, str]]:
    rows = pq.read_table(store.failures_path).to_pylist()
    return [(row["sample_id"], row["reason"], row["detail"].rpartition("/")[2]) for row in rows]


def test_every_file_of_one_id_has_its_row(address: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpeg").write_bytes(picture(0)[:900])
    (photos / "a.jpg").write_bytes(picture(1))
    (photos / "a.png").write_bytes(picture(2, "PNG"))
    (photos / "c.jpg").write_bytes(picture(3))
    store = begin(photos, tmp_path / "run", address)
    accepted = failures(store)
    counts = driver.finish(store)
    assert (counts["candidates"], counts["samples"], counts["rejected"]) == (4, 1, 3)
    assert (counts["failures"], counts["quarantined"], counts["scores"]) == (3, 3, 1)
    found = failures(store)
    assert found == accepted
    assert [row[:2] for row in found] == [
        ("a", "truncated-image"),
        ("a", "duplicate-id"),
        ("a", "duplicate-id"),
    ]
    assert [row[2] for row in found[1:]] == [
        f"{name}: a.jpeg has the same id 'a' and comes first; rename one" for name in ("a.jpg", "a.png")
    ]
    assert "3 samples in 3 places" in write_report(store.path).read_text()


def test_an_odd_spelling_of_an_extension_has_its_row(address: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed, name in enumerate(("a.Jpg", "a.jpg", "b.jpg")):
        (photos / name).write_bytes(picture(seed))
    store = begin(photos, tmp_path / "run", address)
    counts = driver.finish(store)
    assert (counts["samples"], counts["rejected"], counts["failures"]) == (2, 1, 1)
    expected = "a.jpg: a.Jpg has the same id 'a' and comes first; rename one"
    assert failures(store) == [("a", "duplicate-id", expected)]
    assert pq.read_table(store.samples_path)["source_path"].to_pylist() == ["a.Jpg", "b.jpg"]


def test_a_second_member_of_one_name_has_its_row(address: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed, name in enumerate(("a.jpg", "a.jpg", "b.jpg")):
            archive.writestr(name, picture(seed))
    store = begin(tmp_path / "set.zip", tmp_path / "run", address)
    counts = driver.finish(store)
    assert (counts["candidates"], counts["samples"], counts["rejected"]) == (3, 2, 1)
    assert [row[:2] for row in failures(store)] == [("a", "duplicate-id")]


def test_a_picture_as_long_as_a_street_stops_nothing(address: str, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "face.jpg").write_bytes(picture(0))
    pixels = np.zeros((100, 200_000, 3), np.uint8)
    pixels[:, ::2] = 200
    Image.fromarray(pixels).save(photos / "street.png")
    store = begin(photos, tmp_path / "run", address)
    assert driver.finish(store)["scores"] == 1
    assert [row[:2] for row in failures(store)] == [("street", "crop-too-large")]


@pytest.mark.parametrize(
    ("stage", "condition"),
    [
        ("ingest", Condition()),
        ("degrade", Condition()),
        ("restore", Condition("area", 32, "nearest")),
        ("score", Condition("area", 32, "nearest", "none")),
    ],
)
def test_no_run_is_complete_without_all_its_results(
    stage: str, condition: Condition, address: str, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(4):
        (photos / f"{seed}.jpg").write_bytes(picture(seed))
    store = begin(photos, tmp_path / "run", address)
    store.forget(Unit(stage, condition, 1))
    left = sorted(store.results_path.rglob("unit-*"))
    with pytest.raises(EnvironmentTroubleError, match=r"unit-000001\.parquet: missing; repeat"):
        driver.finish(store)
    assert not driver.is_complete(store)
    assert sorted(store.results_path.rglob("unit-*")) == left
    begin(photos, tmp_path / "run", address)
    assert driver.finish(store)["scores"] == 4
