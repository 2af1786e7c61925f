"""The run folder: whole shards, atomic files, one owner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facepipe.bench.run_store import ARRAY_RESULT, RunStore
from facepipe.bench.spec import Condition
from facepipe.core.errors import EnvironmentTroubleError, FacepipeError, RunConflictError, UsageError
from facepipe.core.tables import ROWS_AT_ONCE, read_table, write_table, write_tables
from facepipe.pipeline.batch_store import array_name
from facepipe.pipeline.unit import Unit


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "run")


def test_shards_round_trip_and_the_last_may_be_short(store: RunStore) -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 5, 6), np.uint8)
    store.create_array("volumes/area-16/a/b", (7, 5, 6), 3, attributes={"spacing": [1 / 3, 1, 1]})
    for shard in (2, 0, 1):
        store.write_shard("volumes/area-16/a/b", shard, values[3 * shard : 3 * shard + 3])
    assert np.array_equal(store.read("volumes/area-16/a/b", 0, 7), values)
    assert store.attributes("volumes/area-16/a/b") == {"spacing": [1 / 3, 1, 1]}
    assert store.array_names() == ["volumes/area-16/a/b"]
    files = [path for path in store.zarr_path.rglob("c/*/*") if path.parent.parent.name == "c"]
    assert len(files) == 3


def test_a_part_of_a_shard_is_refused(store: RunStore) -> None:
    store.create_array("a", (4, 2), 4)
    with pytest.raises(ValueError, match="4 samples expected, got 3"):
        store.write_shard("a", 0, np.zeros((3, 2), np.uint8))


def test_a_deleted_shard_reads_as_zeros(store: RunStore) -> None:
    store.create_array("a", (4, 2, 2), 2)
    for shard in (0, 1):
        store.write_shard("a", shard, np.ones((2, 2, 2), np.uint8))
    store.delete_shard("a", 1)
    store.delete_shard("a", 1)
    assert store.read("a", 0, 4).sum((1, 2)).tolist() == [4, 4, 0, 0]


def test_an_existing_array_is_left_alone(store: RunStore) -> None:
    store.create_array("a", (2, 2), 2)
    store.write_shard("a", 0, np.ones((2, 2), np.uint8))
    store.create_array("a", (2, 2), 2)
    assert store.read("a", 0, 2).sum() == 4


def test_names_cannot_leave_the_store(store: RunStore) -> None:
    name = array_name("restored", "area-32", "file:../../x")
    assert ".." not in Path(name).parts
    assert name.count("/") == 2


def test_units_are_looked_at_as_they_are_asked_for(store: RunStore) -> None:
    """A night has a million of them: nobody holds them all."""
    looked: list[int] = []
    units = (
        looked.append(shard) or Unit("score", Condition("area", 16, "bilinear"), shard)
        for shard in range(10**6)
    )
    missing = store.missing(units)
    assert [next(missing).shard for _ in range(3)] == looked == [0, 1, 2]


def test_results_make_units_done(store: RunStore) -> None:
    first, second = (Unit("restore", Condition("area", 16, "bilinear"), shard) for shard in (12, 13))
    assert list(store.missing([first, second])) == [first, second]
    store.write_result(first, pa.Table.from_pylist([{"index": 1}], ARRAY_RESULT))
    store.result_path(second).with_name(".unit-000013.parquet.7.tmp").write_bytes(b"half")
    assert list(store.missing([first, second])) == [second]
    store.sweep_temporary()
    files = [path.name for path in store.results_path.rglob("*") if path.is_file()]
    assert files == ["unit-000012.parquet"]
    assert store.read_result(first)["index"].to_pylist() == [1]
    store.forget(first)
    assert not store.has_results()


def test_every_flipped_byte_of_a_shard_is_noticed(store: RunStore) -> None:
    store.create_array("a", (2, 3), 2)
    store.write_shard("a", 0, np.arange(6, dtype=np.uint8).reshape(2, 3))
    assert store.broken("a", 0) == ""
    path = store.shard_path("a", 0)
    sound = path.read_bytes()
    for place in range(len(sound)):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        with pytest.raises(EnvironmentTroubleError, match="a: damaged .*repeat the command"):
            store.read("a", 0, 2)
        assert store.broken("a", 0).startswith("the shard of a cannot be read")
        store.write_shard("a", 0, np.arange(6, dtype=np.uint8).reshape(2, 3))
        assert path.read_bytes() == sound
    for gone in (lambda: path.write_bytes(b""), path.unlink):  # Zarr takes both for zeros
        gone()
        assert store.broken("a", 0) == "the shard of a is missing"


def test_an_erased_sample_is_gone_and_its_neighbours_stay(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "private", private=True)
    values = np.arange(1, 31, dtype=np.uint8).reshape(5, 6)
    store.write_whole("a", values, 2)
    store.erase("a", [2, 4])
    assert store.read("a", 0, 5).sum(1).tolist() == [21, 57, 0, 129, 0]
    assert not store.shard_path("a", 2).exists()
    assert store.shard_path("a", 1).stat().st_mode & 0o777 == 0o600
    assert store.zarr_path.stat().st_mode & 0o777 == 0o700


def test_tables_are_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, pa.table({"a": [1]}))
    assert read_table(path)["a"].to_pylist() == [1]
    write_table(path, pa.table({"a": [2, 3]}))
    assert read_table(path)["a"].to_pylist() == [2, 3]


def test_small_tables_share_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = ROWS_AT_ONCE // 4 + 1
    tables = (pa.table({"b": range(i * rows, (i + 1) * rows), "a": ["x"] * rows}) for i in range(5))
    assert write_tables(path, tables, pa.schema([("b", pa.int32())])) == 5 * rows
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4 * rows, rows]
    assert file.read()["b"].to_pylist() == list(range(5 * rows))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"

    def tables():
        yield pa.table({"a": [1]})
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_tables(path, tables(), pa.schema([("a", pa.int64())]))
    assert list(tmp_path.iterdir()) == []


def test_only_one_process_works_on_a_run(store: RunStore) -> None:
    with store.lock(), pytest.raises(RunConflictError, match="another process"), store.lock():
        pass
    assert not store.path.exists()


def test_a_folder_without_a_run(store: RunStore) -> None:
    with pytest.raises(UsageError, match="no run here"):
        store.read_run()
    store.write_run({"a": 1})
    assert store.read_run()["a"] == 1
    store.run_json_path.write_text("{")
    with pytest.raises(FacepipeError, match=r"run\.json.*restore it from a copy") as caught:
        store.read_run()
    assert caught.value.exit_status == 1


def test_a_path_that_looks_like_a_chain_of_addresses(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "a::b" / "memory:" / "run")
    store.create_array("a", (2, 2), 2)
    store.write_shard("a", 0, np.ones((2, 2), np.uint8))
    assert store.read("a", 0, 2).sum() == 4
    assert store.shard_path("a", 0).is_file()


def test_long_names_end_in_their_digest(store: RunStore) -> None:
    longest = "m" * 200
    assert array_name("restored", longest) == f"restored/{longest}"
    folder = "/bücher" * 30
    names = [array_name("restored", f"file:{folder}/{name}.pth") for name in "ab"]
    assert len(set(names)) == 2 and names[0] == array_name("restored", f"file:{folder}/a.pth")
    for name in names:
        assert name.isascii() and name.startswith("restored/file%3A%2Fb%C3%BCcher")
        assert len(name.removeprefix("restored/")) < 120
        store.create_array(name, (2, 2), 2)
        store.write_shard(name, 0, np.ones((2, 2), np.uint8))
    assert store.array_names() == sorted(names)
