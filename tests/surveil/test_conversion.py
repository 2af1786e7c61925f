"""Archives of the format before Delta Lake: converted once, in place, wherever the conversion is stopped."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner
from old_archives import CREATED, FACES_BEFORE, FILES_BEFORE, write_old_archive

from facepipe.cli import facepipe
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.results.query import ask
from facepipe.surveil import conversion, delta_table
from facepipe.surveil.archive import Archive
from facepipe.surveil.conversion import convert
from facepipe.surveil.delta_table import faces_table, files_table, stages_table, versions
from facepipe.surveil.state import describe
from facepipe.surveil.upkeep import sweep

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def old(tmp_path: Path) -> Archive:
    return write_old_archive(tmp_path / "archive")


def check(archive: Archive) -> None:
    """Every row that counted before counts now, and no other."""
    sweep(archive)
    assert archive.read_facts().created == CREATED
    faces = ask(archive.path, "select face_id, date, image_path from faces order by face_id").rows
    assert faces == [(row["face_id"], date(2024, 1, row["day"]), row["image_path"]) for row in FACES_BEFORE]
    found = [row for part in files_table(archive).parts() for rows in _read(part) for row in rows.to_pylist()]
    assert sorted(found, key=lambda row: row["path"]) == [
        row | {"inode": -1 if row["inode"] == 2**64 - 1 else row["inode"]} for row in FILES_BEFORE
    ]
    assert ask(archive.path, "select count(*) from stages").rows == [(1,)]
    assert faces_table(archive).batch() == 7
    counted = {*faces_table(archive).parts(), *files_table(archive).parts(), *stages_table(archive).parts()}
    left = {path for path in archive.path.rglob("part-*.parquet") if "batches" not in path.parts}
    assert left == counted
    assert not list(archive.path.rglob("*.tmp"))
    for path in (archive.path, *archive.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def _read(part: Path) -> list[pa.RecordBatch]:
    return list(delta_table.read_part(part))


def test_an_old_archive_becomes_delta_tables_with_the_same_rows(old: Archive) -> None:
    faces_before = {path: path.read_bytes() for path in old.faces_path.rglob("part-00000003-*.parquet")}
    convert(old)
    check(old)
    assert {path: path.read_bytes() for path in faces_before} == faces_before
    assert "3 files read, 3 inputs, 2 faces" in "\n".join(describe(old))
    day = datetime.now(UTC).date()
    assert {part.parent.name for part in files_table(old).parts()} == {f"date={day}"}


def test_it_is_converted_once(old: Archive) -> None:
    convert(old)
    sweep(old)
    before = versions(old)
    convert(old)
    assert versions(old) == before


def test_until_then_questions_name_the_way_out(old: Archive, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the next `facepipe surveil INBOX --out .*archive` makes Delta"):
        ask(old.path, "select * from faces")
    refused = CliRunner().invoke(facepipe, ["status", str(old.path)])
    assert isinstance(refused.exception, UsageError)
    assert "format 2" in str(refused.exception)


def steps_of(monkeypatch: pytest.MonkeyPatch, step: Callable[[], None]) -> None:
    """Call something before and after whatever a conversion does to the disk."""

    def around(function: Callable) -> Callable:
        def wrapped(*arguments, **options):
            step()
            result = function(*arguments, **options)
            step()
            return result

        return wrapped

    for where, name in (
        (Path, "replace"),
        (Path, "unlink"),
        (Path, "chmod"),
        (shutil, "rmtree"),
        (delta_table, "create_table_with_add_actions"),
        (delta_table, "make_private_folder"),
    ):
        monkeypatch.setattr(where, name, around(getattr(where, name)))


@pytest.mark.parametrize("again_each_time", [True, False], ids=["always from the start", "going on"])
def test_stopped_between_any_two_steps_it_is_converted_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again_each_time: bool
) -> None:
    """Either one archive is stopped once, at each step in turn, or the same archive over and over."""
    left = stops = 0

    def step() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    steps_of(monkeypatch, step)
    archive = Archive(tmp_path / "going-on")
    while stops < 200:
        left = 10_000
        if again_each_time or not archive.exists():
            archive = write_old_archive(tmp_path / f"archive{stops}")
        left = stops
        try:
            convert(archive)
            sweep(archive)
        except KeyboardInterrupt:
            stops += 4 if again_each_time else 1
        else:
            break
        if again_each_time:
            left = 10_000
            convert(archive)
            check(archive)
    assert 20 < stops < 200
    left = 10_000
    check(archive)


def test_killed_for_good_it_is_converted_by_the_next_call(tmp_path: Path) -> None:
    """By kill -9 in the middle of the conversion, in a process of its own."""
    script = SUPPORT / "old_archives.py"
    for kill_at in (3, 6, 9):
        archive = write_old_archive(tmp_path / f"archive{kill_at}")
        command = [sys.executable, str(script), str(archive.path), str(kill_at)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert json.loads(archive.json_path.read_text())["format"] == 2
        convert(archive)
        check(archive)


def test_what_an_older_version_did_after_a_conversion_that_was_killed_is_kept(
    old: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Archive, "write_facts", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        convert(old)
    monkeypatch.undo()
    assert faces_table(old).version() == 0
    said = json.loads(old.json_path.read_text())
    (dropped, *others) = [name for name in said["parts"] if name.startswith("faces")]
    kept = [name for name in said["parts"] if name != dropped]
    old.json_path.write_text(json.dumps(said | {"parts": kept}))
    (old.path / dropped).unlink()
    convert(old)
    sweep(old)
    assert sorted(map(str, faces_table(old).parts())) == sorted(str(old.path / name) for name in others)


def test_an_older_archive_json_beside_converted_tables_is_refused(old: Archive) -> None:
    before = old.json_path.read_bytes()
    convert(old)
    sweep(old)
    old.json_path.write_bytes(before)
    files = sorted(old.path.rglob("*"))
    with pytest.raises(FacepipeError, match="restore the whole archive"):
        convert(old)
    assert sorted(old.path.rglob("*")) == files


@pytest.mark.parametrize("damage", ["missing", "older"])
def test_an_archive_json_that_does_not_fit_is_refused(old: Archive, damage: str) -> None:
    said = json.loads(old.json_path.read_text())
    if damage == "missing":
        (old.path / said["parts"][0]).unlink()
    else:
        newer = old.path / said["parts"][0]
        shutil.copy(newer, newer.with_name(f"part-{said['change'] + 2:08d}-000000.parquet"))
    files = sorted(old.path.rglob("*"))
    with pytest.raises(FacepipeError, match="nothing was touched; restore the whole archive"):
        convert(old)
    assert sorted(old.path.rglob("*")) == files


@pytest.mark.parametrize("text", ['{"format": 2}', '{"format": 2, "created": "", "batch": 1, "parts": 3}'])
def test_a_damaged_archive_json_is_refused(old: Archive, text: str) -> None:
    old.json_path.write_text(text)
    with pytest.raises(UsageError, match=r"archive\.json: is damaged"):
        convert(old)


def test_an_archive_without_a_row_is_converted_too(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    said = {"format": 2, "created": CREATED, "change": 0, "batch": 0, "parts": []}
    archive.json_path.write_text(json.dumps(said))
    convert(archive)
    sweep(archive)
    assert versions(archive) == (-1, -1, -1)
    assert archive.read_facts().created == CREATED
    assert [path.name for path in tmp_path.iterdir()] == ["archive.json"]
    assert archive.read_facts().format > conversion.OLD_FORMAT
