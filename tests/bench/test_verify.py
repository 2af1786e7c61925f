"""Damage to what a run left on disk: it is found, named, and exactly what it touches is done again."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from distributed import LocalCluster
from faulty import FaultyDataset

from facepipe.bench import driver, run_folder
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES, BenchUnit, Condition
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.cli import facepipe
from facepipe.core.errors import FacepipeError, RunConflictError
from facepipe.pipeline.cluster.worker_settings import NO_PAGES
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, untrusted_units

BILINEAR = Condition("area", 32, "bilinear")
SCORED = Condition("area", 32, "bilinear", "none")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A cluster in this process: nothing dies here."""
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **NO_PAGES) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple], tuple[Path, list]]:
    """By what they were asked for: a place for a run that nothing has damaged yet, and the units it took."""
    folder, known = tmp_path_factory.mktemp("sound"), {}
    return lambda key: known.setdefault(key, (folder / str(len(known)), []))


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, sound) -> Callable[..., tuple]:
    """Take a run through all stages, or to the end; say which units that took.

    A test that begins as another one did begins with a copy of that one's run.
    """

    def start(finish: bool = True, dataset: FaultyDataset | None = None, **options) -> tuple[RunStore, list]:
        (tmp_path / "traces").mkdir(exist_ok=True)
        faulty = dataset or FaultyDataset(tmp_path / "traces")
        monkeypatch.setattr(run_folder, "open_dataset", lambda *_, **__: faulty)
        run = tmp_path / "run"
        if run.exists() or dataset:
            return take(finish, options)
        whole, done = sound((finish, tuple(sorted(options.items()))))
        if not whole.exists():
            done += take(finish, options)[1]
            shutil.copytree(run, whole)
        else:
            shutil.copytree(whole, run)
        return RunStore(run), list(done)

    def take(finish: bool, options: dict) -> tuple[RunStore, list]:
        done: list[BenchUnit] = []
        note = lambda unit, _: done.append(unit)  # noqa: E731
        options = {
            "low_px": "32",
            "methods": "nearest,bilinear",
            "regressors": "none",
            "shard_size": 4,
        } | options
        store = driver.prepare(make_config({"dataset": "faulty", "out": tmp_path / "run", **options}))
        if not driver.is_complete(store):
            driver.verify(store, address)
            driver.run_ingest(store, address, note)
            for shards in driver.shard_batches(store):
                for stage in STAGES[1:]:
                    driver.run_stage(store, stage, shards, address, note)
        if finish:
            driver.finish(store)
        return store, [str(unit) for unit in done]

    return start


def scores(store: RunStore) -> pa.Table:
    return pq.read_table(store.scores_path).drop_columns(["seconds"])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def scramble(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(byte ^ 0x55 for byte in data[4:40]) + data[40:])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [flip, cut, empty, Path.unlink])
def test_a_damaged_shard_and_what_came_of_it(go, damage, caplog) -> None:
    store, _ = go(finish=False)
    damage(store.shard_path(BILINEAR.restored, 1))
    store, done = go()
    assert done == ["restore area-32/bilinear shard 1", "score area-32/bilinear/none shard 1"]
    assert "restore area-32/bilinear shard 1 will be done again: the shard of restored/" in caplog.text
    found = scores(store)
    shutil.rmtree(store.path)
    assert found.equals(scores(go()[0]))


@pytest.mark.parametrize(
    ("damage", "stage", "condition", "again"),
    [
        (scramble, "ingest", Condition(), ["ingest all shard 2"]),
        (cut, "score", SCORED, ["score area-32/bilinear/none shard 2"]),
        (empty, "score", SCORED, ["score area-32/bilinear/none shard 2"]),
        (Path.unlink, "score", SCORED, ["score area-32/bilinear/none shard 2"]),
        (
            scramble,
            "degrade",
            Condition(),
            [
                "degrade all shard 2",
                "restore area-32/nearest shard 2",
                "restore area-32/bilinear shard 2",
                "score area-32/nearest/none shard 2",
                "score area-32/bilinear/none shard 2",
            ],
        ),
    ],
)
def test_a_damaged_result_and_what_came_of_it(
    go, damage, stage: str, condition: Condition, again: list
) -> None:
    store, _ = go(finish=False)
    damage(store.result_path(Unit(stage, condition, 2)))
    store, done = go()
    assert done == again
    assert scores(store).num_rows == 24


def test_every_flipped_byte_of_a_result_is_noticed_or_changes_nothing(go) -> None:
    store, _ = go(finish=False)
    unit = Unit("score", SCORED, 0)
    path = store.result_path(unit)
    sound, table = path.read_bytes(), store.read_result(unit)
    noticed = 0
    for place in range(0, len(sound), 7):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        try:
            assert store.read_result(unit).equals(table)
        except FacepipeError:
            noticed += 1
    assert noticed > len(sound) / 7 / 4


@pytest.mark.parametrize(
    ("damage", "name"),
    [(empty, ""), (cut, "restored"), (flip, BILINEAR.restored), (Path.unlink, BILINEAR.restored)],
)
def test_a_damaged_description_of_arrays_is_mended_in_place(go, damage, name: str) -> None:
    store, _ = go(finish=False)
    damage(store.zarr_path / name / "zarr.json")
    store, done = go()
    assert done == []
    assert store.attributes(BILINEAR.restored) == {}
    assert store.read(BILINEAR.restored, 0, 12).any()


@pytest.mark.parametrize(
    ("damage", "name"),
    [(flip, "samples.parquet"), (cut, "lists/refs.parquet"), (Path.unlink, "lists/candidates.parquet")],
)
def test_damaged_lists_of_an_interrupted_run_are_written_again(go, damage, name: str) -> None:
    store, _ = go(finish=False)
    damage(store.path / name)
    store, done = go()
    assert done == []
    assert scores(store).num_rows == 24


def test_arrays_that_were_dropped_are_not_missed(go) -> None:
    options = {"keep": "scores", "disk_gb": 0.001}
    store, _ = go(finish=False, **options)
    assert not any(path.is_file() for path in store.zarr_path.rglob("c/*/*"))
    assert go(finish=False, **options)[1] == []
    # A score that is lost needs its arrays again, those of its shard and no others.
    scramble(store.result_path(Unit("score", SCORED, 1)))
    _, done = go(**options)
    assert len(done) == 5
    assert all(unit.endswith("shard 1") for unit in done)


def test_arrays_that_were_dropped_can_be_asked_for(go) -> None:
    store, _ = go(keep="scores", disk_gb=0.001)
    before = scores(store)
    assert go(keep="scores")[1] == []
    store, done = go(keep="all")
    assert {unit.split()[0] for unit in done} == {"ingest", "degrade", "restore", "score"}
    assert store.read(BILINEAR.restored, 0, 12).any()
    assert scores(store).equals(before)


@pytest.mark.parametrize(
    ("damage", "name"), [(flip, "scores"), (Path.unlink, "scores"), (cut, "samples"), (empty, "failures")]
)
def test_a_complete_run_gets_its_tables_back(go, damage, name: str, tmp_path: Path) -> None:
    dataset = FaultyDataset(tmp_path / "traces", rejected=("s03",))
    store, _ = go(dataset=dataset)
    tables = {path.name: pq.read_table(path) for path in store.path.glob("*.parquet")}
    damage(store.path / f"{name}.parquet")
    store, done = go(dataset=dataset)
    # Arrays are verified and stay: no image is made again.
    assert {unit.split()[0] for unit in done} == {"ingest", "score"}
    for file, table in tables.items():
        found = pq.read_table(store.path / file)
        if file == "scores.parquet":
            found, table = found.drop_columns(["seconds"]), table.drop_columns(["seconds"])
        assert found.equals(table), file
    assert go(dataset=dataset)[1] == []
    assert not store.results_path.exists()


def test_without_the_results_of_units_nothing_is_believed(go) -> None:
    store, first = go()
    empty(store.units_path)
    assert go()[1] == first
    assert store.units_path.stat().st_size > 0


def test_a_complete_run_whose_arrays_were_cleaned_stays_complete(go) -> None:
    store, first = go()
    with store.lock():
        store.delete_arrays()
    assert go()[1] == []
    store.scores_path.unlink()
    assert go()[1] == first


def test_images_that_changed_meanwhile_are_refused(go, tmp_path: Path) -> None:
    store, _ = go()
    store.scores_path.unlink()
    with pytest.raises(RunConflictError, match="images of faulty have changed"):
        go(dataset=FaultyDataset(tmp_path / "traces", rejected=("s05",)))


def test_an_image_that_changes_after_ingest_is_refused_by_name(go, tmp_path: Path) -> None:
    with pytest.raises(RunConflictError, match=r"s05\.png of faulty has changed since this run began"):
        go(dataset=FaultyDataset(tmp_path / "traces", changing=("s05",)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "status": "complete", "run_id": 3}']
)
def test_a_damaged_run_json_is_a_failure_with_a_way_out(go, text: str) -> None:
    store, _ = go()
    store.run_json_path.write_text(text)
    with pytest.raises(FacepipeError, match=r"run\.json: .*restore it from a copy, or delete") as caught:
        go()
    assert caught.value.exit_status == 1


def test_status_names_what_is_damaged(go) -> None:
    store, _ = go()

    def status(*options: str):
        return CliRunner().invoke(facepipe, ["status", str(store.path), *options])

    assert status("--verify").exit_code == 0
    flip(store.shard_path(BILINEAR.restored, 1))
    assert status().exit_code == 0
    done = status("--verify")
    assert isinstance(done.exception, FacepipeError)
    assert "damaged: restore area-32/bilinear shard 1: the shard of restored/area-32/bilinear" in done.stdout
    assert done.stdout.count("damaged: ") == 1
    _, again = go()
    assert "restore area-32/bilinear shard 1" in again
    assert not any("nearest" in unit and unit.startswith("restore") for unit in again)
    assert status("--verify").exit_code == 0


def test_status_says_which_arrays_are_lost(go) -> None:
    store, _ = go()
    shutil.rmtree(store.zarr_path / "lowres")
    shard = store.shard_path(BILINEAR.restored, 1)
    scramble(shard)
    done = CliRunner().invoke(facepipe, ["status", str(store.path), "--verify"])
    assert "damaged: degrade all shard 0: the array lowres/area-32 is missing" in done.stdout
    assert not re.search(r"\((\w+Error|\w+Exception)\)", done.stdout)


def test_status_of_an_interrupted_run_changes_nothing(go) -> None:
    store, _ = go(finish=False)
    flip(store.shard_path(BILINEAR.restored, 0))
    parts = sorted(store.results_path.rglob("unit-*"))
    done = CliRunner().invoke(facepipe, ["status", str(store.path), "--verify"])
    assert done.stdout.count("damaged: ") == 2
    assert sorted(store.results_path.rglob("unit-*")) == parts
    assert store.read_run()["status"] == "running"


def test_what_depends_on_a_reference_volume(tmp_path: Path) -> None:
    config = make_config(
        {"out": tmp_path / "run", "limit": 2, "low_px": "32", "methods": "nearest", "keep": "scores"}
    )
    store = driver.prepare(config)
    run = store.read_run()
    store.write_run(run | {"counts": run["counts"] | {"samples": 2}})
    spec = driver.load_spec(store)
    for stage in STAGES:
        for unit in spec.units(stage, range(1)):
            store.write_result(unit, store.schemas[stage].empty_table())
    reference, other = spec.regress_conditions()
    assert reference.is_reference

    def untrusted() -> list[str]:
        together = spec.verified_together(Unit(VERIFY, Condition(), 0))
        return [str(unit) for unit in untrusted_units(spec, BENCH_STAGES, together)]

    assert untrusted() == []
    store.result_path(Unit("regress", other, 0)).unlink()
    assert untrusted() == [f"score {other} shard 0"]
    os.truncate(store.result_path(Unit("regress", reference, 0)), 10)
    assert untrusted() == [
        f"regress {reference} shard 0",
        f"score {reference} shard 0",
        f"score {other} shard 0",
    ]
