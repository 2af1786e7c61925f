"""The Delta tables of an archive: a change happens at once or not at all, old versions are really gone."""

from __future__ import annotations

import os
import re
import resource
import shutil
import stat
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from facepipe.core.errors import EnvironmentTroubleError, FacepipeError, UsageError
from facepipe.core.schema import FACES, FILES
from facepipe.results.query import ask
from facepipe.surveil import delta_table, state
from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import (
    ArchiveTable,
    TableChange,
    faces_table,
    files_table,
    stages_table,
    tables,
    versions,
)
from facepipe.surveil.upkeep import finish, sweep

SCHEMA = pa.schema([("n", pa.int64())])
DAY = "2026-01-31"


def rows(*numbers: int) -> list[pa.Table]:
    return [pa.table({"n": pa.array(numbers, pa.int64())})]


@pytest.fixture
def table(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> ArchiveTable:
    """A table of numbers in the place of the known files."""
    table = ArchiveTable(archive.files_path, SCHEMA)
    monkeypatch.setattr(delta_table, "files_table", lambda _: table)
    return table


def add(table: ArchiveTable, *parts: list[pa.Table], batch: int | None = None) -> None:
    change = TableChange(table)
    for part in parts:
        change.add(part, DAY)
    change.commit(batch)


def numbers(table: ArchiveTable) -> list[list[int]]:
    return [pq.read_table(part)["n"].to_pylist() for part in table.parts()]


def files_of(table: ArchiveTable) -> list[Path]:
    return sorted(table.path.glob("date=*/*"))


class TestChanges:
    def test_compaction_keeps_every_row_once_and_leaves_large_files_alone(self, table: ArchiveTable) -> None:
        add(table, rows(*range(100)))
        add(table, rows(1, 10), rows(2))
        change = TableChange(table)
        change.compact(small_rows=100)
        change.commit()
        assert numbers(table) == [list(range(100)), [1, 10, 2]]
        assert len(files_of(table)) == 2

    def test_partitions_are_compacted_each_for_itself(self, table: ArchiveTable) -> None:
        for day in ("2026-01-30", DAY):
            for number in range(3):
                change = TableChange(table)
                change.add(rows(number), day)
                change.commit()
        change = TableChange(table)
        change.compact(small_rows=100)
        change.commit()
        assert numbers(table) == [[0, 1, 2], [0, 1, 2]]
        assert [part.parent.name for part in table.parts()] == ["date=2026-01-30", f"date={DAY}"]

    def test_a_change_happens_when_it_is_committed_and_not_before(self, table: ArchiveTable) -> None:
        add(table, rows(1, 2), rows(3))
        one, _ = table.parts()
        change = TableChange(table)
        change.rewrite(one, rows(1))
        change.add(rows(4), "2026-02-01")
        assert numbers(table) == [[1, 2], [3]]
        change.commit(batch=7)
        assert sorted(numbers(table)) == [[1], [3], [4]]
        assert table.batch() == 7

    def test_without_rows_there_is_no_file(self, table: ArchiveTable) -> None:
        add(table, rows())
        assert table.version() == -1
        assert not files_of(table)

    def test_a_batch_without_rows_is_over_too(self, table: ArchiveTable) -> None:
        add(table, rows(), batch=3)
        assert (table.batch(), table.parts(), table.version()) == (3, [], 0)
        add(table, rows(1))
        assert (table.batch(), numbers(table)) == (3, [[1]])

    def test_what_was_never_committed_is_swept_away(self, archive: Archive, table: ArchiveTable) -> None:
        add(table, rows(1))
        TableChange(table).add(rows(2), DAY)
        (files_of(table)[0].parent / ".part-v00000001-000001.parquet.7.tmp").touch()
        (table.log_path / "00000000000000000001.json#1").touch()
        sweep(archive)
        assert len(files_of(table)) == 1
        assert numbers(table) == [[1]]
        assert {path.suffix for path in table.log_path.iterdir()} == {".json"}

    def test_a_file_dropped_by_a_run_that_died_is_swept_away(
        self, archive: Archive, table: ArchiveTable
    ) -> None:
        add(table, rows(1))
        (dropped,) = table.parts()
        copy = dropped.read_bytes()
        change = TableChange(table)
        change.rewrite(dropped, rows(2))
        change.commit()
        dropped.write_bytes(copy)
        sweep(archive)
        assert not dropped.exists()
        assert numbers(table) == [[2]]

    @pytest.mark.parametrize("name", ["it's", "a b", "100%", "a#b", "a?b", "ü"])
    def test_whatever_its_folder_is_called(self, tmp_path: Path, name: str) -> None:
        archive = Archive(tmp_path / name)
        with archive.lock():
            archive.create()
        face = {"sha256": "a", "face_id": "f"}
        for number in range(2):
            change = TableChange(faces_table(archive))
            change.add([pa.Table.from_pylist([face], FACES)], DAY)
            change.commit(number + 1)
        sweep(archive)
        assert ask(archive.path, "select face_id, date from faces").rows == [("f", date(2026, 1, 31))] * 2

    def test_another_folder_as_the_current_one(self, archive: Archive, monkeypatch) -> None:
        monkeypatch.chdir(archive.path.parent)
        table = ArchiveTable(Path(archive.path.name) / "files.parquet", SCHEMA)
        add(table, rows(1))
        add(table, rows(2))
        assert numbers(table) == [[1], [2]]


class TestDamage:
    def night(self, archive: Archive, table: ArchiveTable, number: int, compacted: bool) -> None:
        """What a run does to the tables."""
        sweep(archive)
        add(table, rows(number))
        if compacted:
            change = TableChange(table)
            change.compact(small_rows=100)
            change.commit()

    @pytest.mark.parametrize("compacted", [True, False])
    @pytest.mark.parametrize("nights", [1, 2])
    def test_an_older_log_costs_no_row(
        self, archive: Archive, table: ArchiveTable, compacted: bool, nights: int, tmp_path: Path
    ) -> None:
        for number in (1, 2):
            self.night(archive, table, number, compacted)
        shutil.copytree(table.log_path, tmp_path / "older")
        for number in range(3, 3 + nights):
            self.night(archive, table, number, compacted)
        table.log_path.rename(tmp_path / "newest")
        shutil.copytree(tmp_path / "older", table.log_path)
        before = files_of(table)
        with pytest.raises(FacepipeError, match="restore the whole archive"):
            sweep(archive)
        assert files_of(table) == before
        shutil.rmtree(table.log_path)
        (tmp_path / "newest").rename(table.log_path)
        sweep(archive)
        kept = [number for part in numbers(table) for number in part]
        assert sorted(kept) == list(range(1, 3 + nights))

    def test_without_its_log_no_file_of_a_later_version_is_deleted(
        self, archive: Archive, table: ArchiveTable
    ) -> None:
        add(table, rows(1))
        add(table, rows(2))
        shutil.rmtree(table.log_path)
        with pytest.raises(FacepipeError, match="restore the whole archive"):
            sweep(archive)
        assert len(files_of(table)) == 2

    def test_where_a_file_is_missing_no_other_is_deleted(self, archive: Archive, table: ArchiveTable) -> None:
        add(table, rows(1), rows(2))
        TableChange(table).add(rows(3), DAY)
        gone, *_ = table.parts()
        gone.unlink()
        with pytest.raises(FacepipeError, match=f"{gone.name}: is missing.*restore the whole archive"):
            sweep(archive)
        assert len(files_of(table)) == 2

    @pytest.mark.parametrize("cut", [1, 40])
    def test_a_damaged_log_is_named(self, archive: Archive, table: ArchiveTable, cut: int) -> None:
        add(table, rows(1))
        add(table, rows(2))
        newest = table.log_path / "00000000000000000001.json"
        newest.write_bytes(newest.read_bytes()[:-cut])
        with pytest.raises(FacepipeError, match="_delta_log: cannot be read.*restore the whole archive"):
            sweep(archive)
        assert len(files_of(table)) == 2

    def test_a_commit_that_a_loss_of_power_emptied_is_none(
        self, archive: Archive, table: ArchiveTable
    ) -> None:
        add(table, rows(1), batch=1)
        add(table, rows(2), batch=2)
        (table.log_path / "00000000000000000001.json").write_bytes(b"")
        assert table.batch() == 1
        sweep(archive)
        add(table, rows(2), batch=2)
        assert (numbers(table), table.batch()) == ([[1], [2]], 2)

    def test_a_full_disk_leaves_the_version_before(self, archive: Archive, table: ArchiveTable) -> None:
        add(table, rows(1), batch=1)
        change = TableChange(table)
        change.add(rows(2), DAY)
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises(EnvironmentTroubleError, match="_delta_log: cannot be written"):
                change.commit(2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (numbers(table), table.batch()) == ([[1]], 1)
        sweep(archive)
        add(table, rows(2), batch=2)
        assert (numbers(table), table.batch()) == ([[1], [2]], 2)

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": 3}', '{"format": 1}', '{"format": 2}'])
    def test_a_damaged_archive_is_not_swept(self, archive: Archive, table: ArchiveTable, text: str) -> None:
        add(table, rows(1))
        archive.json_path.write_text(text)
        with pytest.raises(UsageError, match=r"archive\.json"):
            sweep(archive)
        assert len(files_of(table)) == 1


SECRET = "pixels/2026-01-31/000001/secret.png"


def test_no_file_of_an_old_version_names_what_was_deleted(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where every run was killed before it deleted the files that its changes dropped."""
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    faces = faces_table(archive)
    for number in range(25):  # over two checkpoints
        change = TableChange(faces)
        change.add([pa.Table.from_pylist([{"image_path": SECRET, "face_id": "secret-face"}], FACES)], DAY)
        change.commit(number + 1)
    change = TableChange(faces)
    change.compact(100)
    change.commit()
    (part,) = faces.parts()
    change = TableChange(faces)
    change.rewrite(part, [pa.Table.from_pylist([{"face_id": "kept"}], FACES)])
    change.commit()
    assert len(files_with(archive.path, SECRET)) == 26
    monkeypatch.undo()
    sweep(archive)
    assert files_with(archive.path, SECRET) == files_with(archive.path, "secret-face") == []
    assert list(faces.log_path.glob("*.checkpoint.parquet"))


def files_with(folder: Path, text: str) -> list[Path]:
    """The files in which a text stands, in their bytes or in a column of theirs."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        said = path.read_bytes()
        if path.suffix == ".parquet":
            said += str(pq.read_table(path).to_pylist()).encode()
        if text.encode() in said:
            found.append(path)
    return found


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_look_at_tables_or_logs(archive: Archive, umask: int) -> None:
    before = os.umask(umask)
    try:
        for number in range(11):
            for table in tables(archive):
                change = TableChange(table)
                change.add([pa.Table.from_pylist([{}], table.schema)], DAY if table.by_date else None)
                change.commit(number + 1)
        sweep(archive)
    finally:
        os.umask(before)
    assert len(list(archive.path.rglob("*.checkpoint.parquet"))) == 3
    for path in (archive.path, *archive.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_readers_of_the_field_see_the_rows_that_count(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/surveillance.md shows them."""
    faces = faces_table(archive)
    for number in (1, 2):
        change = TableChange(faces)
        change.add([pa.Table.from_pylist([{"face_id": f"{number}", "frame": number}], FACES)], DAY)
        change.commit(number)
    change = TableChange(faces)
    change.rewrite(faces.parts()[0], [pa.Table.from_pylist([{"face_id": "new"}], FACES)])
    change.commit()
    page = (Path(__file__).parents[2] / "docs" / "surveillance.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n([^`]*deltalake[^`]*)```", page)
    monkeypatch.chdir(archive.path.parent)
    found: dict = {}
    exec(example, found)
    columns = [*FACES.names, "date"]
    assert (sorted(found["frame"]["face_id"]), list(found["frame"])) == (["2", "new"], columns)
    lazy = found["lazy"].collect()
    assert (sorted(lazy["face_id"]), lazy.columns) == (["2", "new"], columns)
    assert found["by_date"].fetchall() == [(date(2026, 1, 31), 2)]


def test_files_count_with_the_faces_of_their_batch(archive: Archive) -> None:
    """Between the two commits of a batch neither table shows it."""
    for sha256, is_face_there in (("a", True), ("b", False)):
        change = TableChange(files_table(archive))
        change.add([pa.Table.from_pylist([{"path": b"x", "sha256": sha256}], FILES)], DAY)
        change.commit()
        if is_face_there:
            change = TableChange(faces_table(archive))
            change.add([pa.Table.from_pylist([{"sha256": sha256}], FACES)], DAY)
            change.commit()
    question = "select archive, sha256, date from files"
    assert ask(archive.path, question).rows == [(str(archive.path), "a", date(2026, 1, 31))]
    assert ask(archive.path, "select count(*) from faces").rows == [(1,)]


def test_an_archive_is_described_again_when_files_are_deleted_meanwhile(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sha256 in ("a", "b"):
        for table in (files_table(archive), faces_table(archive)):
            change = TableChange(table)
            change.add([pa.Table.from_pylist([{"sha256": sha256}], table.schema)], DAY)
            change.commit()

    def compact_first(*arguments):
        monkeypatch.undo()
        finish(archive, pa.Table.from_pylist([], stages_table(archive).schema))
        sweep(archive)
        return state.read_part(*arguments)

    monkeypatch.setattr(state, "read_part", compact_first)
    assert "2 files read, 2 inputs, 2 faces" in "\n".join(state.describe(archive))
    faces_table(archive).parts()[0].write_bytes(b"damaged")
    with pytest.raises(FacepipeError, match="not a readable Parquet file"):
        state.describe(archive)


def test_a_run_that_begins_changes_the_versions_of_the_tables_that_are_there(archive: Archive) -> None:
    assert versions(archive) == (-1, -1, -1)
    sweep(archive)
    assert versions(archive) == (-1, -1, -1)
    change = TableChange(faces_table(archive))
    change.add([pa.Table.from_pylist([{}], FACES)], DAY)
    change.commit()
    sweep(archive)
    assert versions(archive) == (1, -1, -1)
