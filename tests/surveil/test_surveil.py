"""Surveillance runs over hand-made inboxes: what is in the archive, and that it is there once."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import trimesh
from click.testing import CliRunner
from inboxes import FATAL, BrightDetector, canvas, sample_faces, without_length, write, write_clip
from outcomes import stored_volumes

from facepipe.cli import facepipe
from facepipe.cli.results import reconstruct
from facepipe.core.config_model import validated
from facepipe.core.errors import RunConflictError, UsageError
from facepipe.core.progress import progress
from facepipe.pipeline.cluster import open_cluster
from facepipe.pipeline.time_limits import TimeoutWatcher, default_limit_s
from facepipe.reconstruct.face import DEFAULT_METHOD
from facepipe.results import query
from facepipe.results.query import ask
from facepipe.surveil import driver, rules, steps, surveil_batch
from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.delta_table import ArchiveTable
from facepipe.surveil.retention import expire
from facepipe.surveil.spec import FRAMES_PER_SEGMENT
from facepipe.surveil.summary import Summary
from facepipe.surveil.volumes import read_volume


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with open_cluster("local", 2) as address:
        yield address


@pytest.fixture(scope="module")
def faces() -> list[np.ndarray]:
    return sample_faces(6)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def surveil(tmp_path: Path, inbox: Path, address: str, monkeypatch: pytest.MonkeyPatch):
    """Run over the inbox with a detector that needs no network; return the summary."""

    def start(out: str = "archive", revision: int = 1, fatal: bool = True, **options) -> Summary:
        detector = BrightDetector(revision=revision, fatal=fatal)
        monkeypatch.setattr(rules, "open_detector", lambda _: detector)
        options = {"settle_seconds": 0, "cluster": address} | options
        config = validated(SurveilConfig, {"inbox": inbox, "out": tmp_path / out, **options}, "options")
        archive = Archive(config.out)
        with archive.lock(config.wait):
            return driver.run(config, archive, progress)

    return start


def rows(archive: Path) -> list[dict]:
    return pq.read_table(archive / "faces.parquet").sort_by("face_id").to_pylist()


def comparable(archive: Path) -> list[dict]:
    """Rows without what differs from run to run: when they were stored, in which batch."""
    found = rows(archive)
    for row in found:
        del row["stored"]
        for name in ("image_path", "volume_path", "mesh_path"):
            row[name] = row[name] and Path(row[name]).name
    return found


def pixels(archive: Path) -> list[str]:
    """Images and meshes by their names, volumes by their content."""
    files = (path.name for path in (archive / "pixels").rglob("*") if path.suffix in (".png", ".glb"))
    return sorted([*files, *stored_volumes(archive)])


def test_an_inbox_becomes_rows_images_volumes_and_meshes(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "two.png", canvas((faces[0], 10, 40, 160), (faces[1], 220, 30, 40)))
    write(inbox / "sub" / "far.png", canvas((faces[2], 100, 100, 6)))
    write(inbox / "none.png", canvas())
    (inbox / "broken.jpg").write_bytes(b"<html>no picture</html>")
    moving = [canvas((faces[3], 20 + 2 * i, 60, 90)) for i in range(20)] + [canvas()] * 10
    write_clip(inbox / "sub" / "clip_20240131_235958.avi", moving)
    summary = surveil(every=10)
    archive = tmp_path / "archive"
    found = rows(archive)
    listed = [(row["source"], row["frame"], row["reason"]) for row in found]
    assert sorted(listed, key=str) == [
        ("broken.jpg", None, "not-an-image"),
        ("none.png", 0, "no-face-detected"),
        ("sub/clip_20240131_235958.avi", 0, None),
        ("sub/clip_20240131_235958.avi", 10, None),
        ("sub/clip_20240131_235958.avi", 20, "no-face-detected"),
        ("sub/far.png", 0, "face-too-small"),
        ("two.png", 0, None),
        ("two.png", 0, None),
    ]  # fmt: skip
    assert summary.rows == {"": 4, "no-face-detected": 2, "not-an-image": 1, "face-too-small": 1}
    clip = [row for row in found if "clip" in row["source"]]
    assert [row["time"] for row in clip] == [
        datetime(2024, 1, 31, 23, 59, 58) + timedelta(seconds=i) for i in range(3)
    ]
    assert {row["time_source"] for row in clip} == {"name"}
    # The third second of the clip is another day.
    assert sorted(path.name for path in (archive / "faces.parquet").glob("date=*"))[:2] == [
        "date=2024-01-31",
        "date=2024-02-01",
    ]
    large, small = (row for row in found if row["source"] == "two.png")
    assert (large["method"], large["low_px"]) == (None, None)
    assert (small["method"], small["low_px"]) == ("compact-camera", 64)
    for row in (large, small):
        assert row["thickness_px"] > 0
        volume, attributes = read_volume(archive, row["volume_path"])
        assert volume.shape == (200, 128, 128)
        assert set(attributes) == {"spacing", "z_zero"}
        assert len(trimesh.load(archive / row["mesh_path"], force="mesh").faces) > 1000
        assert (archive / row["image_path"]).read_bytes()[1:4] == b"PNG"
    assert not list((archive / "batches").iterdir())
    answer = ask(archive, "select count(*), count(mesh_path), min(date) from faces")
    assert answer.rows == [(8, 4, datetime(2024, 1, 31).date())]
    stages = ask(archive, "select stage, items from stages order by items, stage").rows
    assert stages == [("export", 4), ("regress", 4), ("restore", 4), ("look", 5), ("detect", 7)]


def test_nobody_else_may_look(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    before = os.umask(0o000)
    try:
        surveil()
    finally:
        os.umask(before)
    for path in (tmp_path / "archive", *(tmp_path / "archive").rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path


def test_each_content_once(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    first = write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    write(inbox / "b.png", canvas((faces[1], 10, 40, 130)))
    (inbox / "same.png").write_bytes(first.read_bytes())
    summary = surveil()
    assert (summary.inputs, summary.duplicates, summary.known) == (2, 1, 0)
    before = comparable(tmp_path / "archive")
    assert surveil().known == 3
    first.rename(inbox / "renamed.png")
    (inbox / "again").mkdir()
    (inbox / "again" / "a.png").write_bytes((inbox / "renamed.png").read_bytes())
    os.utime(inbox / "b.png")
    write(inbox / "new.png", canvas((faces[2], 10, 40, 130)))
    summary = surveil()
    assert (summary.inputs, summary.duplicates, summary.known) == (1, 3, 1)
    after = comparable(tmp_path / "archive")
    assert [row for row in after if row["source"] != "new.png"] == before
    assert len(after) == 3


def test_unchanged_files_are_not_even_read(surveil, inbox: Path, faces) -> None:
    path = write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    surveil()
    read_before_ns = path.stat().st_atime_ns
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    summary = surveil()
    assert summary.known == 1
    assert path.stat().st_atime_ns == 0 < read_before_ns
    assert "look" not in summary.stages


def test_files_still_being_written_wait(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "fresh.png", canvas((faces[0], 10, 40, 130)))
    summary = surveil(settle_seconds=3600)
    assert (summary.listing.unsettled, summary.listing.files) == (1, 0)
    assert [line for line in summary.lines() if line.startswith("1 files") and "--settle-seconds" in line]
    assert not (tmp_path / "archive" / "faces.parquet").exists()
    assert surveil().inputs == 1


def test_a_file_that_changes_meanwhile_is_left_to_the_next_run(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    path = write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    steady = write(inbox / "b.png", canvas((faces[1], 10, 40, 130)))
    count = surveil_batch.expected_frames

    def count_and_change(item: dict) -> int:
        write(path, canvas((faces[2], 10, 40, 130)))
        return count(item)

    monkeypatch.setattr(surveil_batch, "expected_frames", count_and_change)
    surveil()
    assert [row["source"] for row in rows(tmp_path / "archive")] == [steady.name]
    monkeypatch.undo()
    summary = surveil()
    assert (summary.inputs, summary.known) == (1, 1)
    assert len(rows(tmp_path / "archive")) == 2


def test_only_what_a_change_concerns_is_done_again(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "large.png", canvas((faces[0], 10, 40, 150)))
    write(inbox / "small.png", canvas((faces[1], 10, 40, 40)))
    write(inbox / "none.png", canvas())
    surveil()
    archive = tmp_path / "archive"
    before = {row["source"]: row for row in rows(archive)}
    assert surveil(method="bicubic").inputs == 0
    summary = surveil(method="bicubic", reprocess=True)
    after = {row["source"]: row for row in rows(archive)}
    assert summary.inputs == 1
    assert after["small.png"]["method"] == "bicubic"
    assert {name: row for name, row in after.items() if name != "small.png"} == {
        name: row for name, row in before.items() if name != "small.png"
    }
    assert not (archive / before["small.png"]["mesh_path"]).exists()
    assert (archive / after["small.png"]["mesh_path"]).exists()
    assert len(pixels(archive)) == 6
    assert surveil(method="bicubic", reprocess=True).inputs == 0
    assert surveil(method="bicubic", reprocess=True, revision=2).inputs == 3
    assert len(rows(archive)) == 3


def test_replaced_rows_are_never_doubled_or_missing(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    for number, day in enumerate(("20240101", "20240102")):
        write(inbox / f"{day}_120000.png", canvas((faces[number], 10, 40, 40)))
    surveil()
    archive = tmp_path / "archive"
    seen: list[list[tuple]] = []

    def look_and(step):
        def wrapped(*arguments, **options):
            seen.append(ask(archive, "select method, count(*) from faces group by method").rows)
            return step(*arguments, **options)

        return wrapped

    monkeypatch.setattr(Path, "replace", look_and(Path.replace))
    monkeypatch.setattr(Path, "unlink", look_and(Path.unlink))
    monkeypatch.setattr(ArchiveTable, "commit", look_and(ArchiveTable.commit))
    surveil(method="bicubic", reprocess=True)
    assert set(map(tuple, seen)) == {(("compact-camera", 2),), (("bicubic", 2),)}


def test_a_question_is_asked_again_when_files_are_merged_away_meanwhile(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    write(inbox / "20240101_120000.png", canvas((faces[0], 10, 40, 130)))
    surveil()
    write(inbox / "20240101_130000.png", canvas((faces[1], 10, 40, 130)))
    archive = tmp_path / "archive"
    register = query.register_archives

    def merge_meanwhile(connection, archives) -> None:
        register(connection, archives)
        if len(rows(archive)) == 1:
            surveil()

    monkeypatch.setattr(query, "register_archives", merge_meanwhile)
    assert ask(archive, "select count(*) from faces").rows == [(2,)]


def test_work_begun_without_reprocess_is_begun_again_with_it(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    picture = write(inbox / "a.png", canvas((faces[0], 10, 40, 40)))
    surveil()
    (inbox / "copy.png").write_bytes(picture.read_bytes())
    monkeypatch.setattr(driver, "take_through", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        surveil(method="bicubic")
    monkeypatch.undo()
    surveil(method="bicubic", reprocess=True)
    assert [row["method"] for row in rows(tmp_path / "archive")] == ["bicubic"]


def test_a_video_is_done_again_for_other_frames_but_images_are_not(
    surveil, inbox: Path, tmp_path: Path, faces
) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    write_clip(inbox / "b.mp4", [canvas((faces[1], 10, 40, 130))] * 12)
    surveil(every=6)
    summary = surveil(every=4, reprocess=True)
    assert summary.inputs == 1
    assert sorted((row["source"], row["frame"]) for row in rows(tmp_path / "archive")) == [
        ("a.png", 0), ("b.mp4", 0), ("b.mp4", 4), ("b.mp4", 8),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_picture_that_kills_workers_is_the_only_one_lost(
    surveil, inbox: Path, tmp_path: Path, faces
) -> None:
    for i in range(3):
        write(inbox / f"{i}.png", canvas((faces[i], 10, 40, 130)))
    poison = canvas((faces[3], 10, 40, 130))
    poison[0, 0] = FATAL
    write(inbox / "poison.png", poison)
    summary = surveil()
    found = {row["source"]: row["reason"] for row in rows(tmp_path / "archive")}
    assert found == {"0.png": None, "1.png": None, "2.png": None, "poison.png": "worker-died"}
    assert summary.inputs == 4
    assert surveil().known == 4
    before = rows(tmp_path / "archive")
    assert surveil(retry_failed=True, fatal=False).inputs == 1
    after = {row["source"]: row for row in rows(tmp_path / "archive")}
    assert after.pop("poison.png")["reason"] is None
    assert after == {row["source"]: row for row in before if row["source"] != "poison.png"}
    assert surveil(retry_failed=True).inputs == 0


def test_what_a_file_is_called_does_not_hide_its_content(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    clip = write_clip(inbox / "z.mp4", [canvas((faces[0], 10, 40, 130))] * 5)
    (inbox / "a.jpg").write_bytes(clip.read_bytes())
    picture = write(inbox / "z.png", canvas((faces[1], 10, 40, 130)))
    (inbox / "b.avi").write_bytes(picture.read_bytes())
    (inbox / "c.jpg").write_bytes(b"")
    assert surveil().duplicates == 2
    found = [(row["source"], row["kind"], row["reason"]) for row in rows(tmp_path / "archive")]
    assert sorted(found) == [
        ("a.jpg", "video", None),
        ("b.avi", "image", None),
        ("c.jpg", "image", "not-an-image"),
    ]


@pytest.mark.parametrize("year", [1902, 2300])
def test_clocks_of_files_that_are_far_off(surveil, inbox: Path, tmp_path: Path, year: int) -> None:
    path = write(inbox / "a.png", canvas())
    seconds = int((datetime(year, 1, 1) - datetime(1970, 1, 1)).total_seconds())
    os.utime(path, ns=(0, seconds * 10**9))
    if path.stat().st_mtime_ns != seconds * 10**9:
        pytest.skip("this file system cannot say so")
    assert surveil().inputs == 1
    assert surveil().known == 1
    (row,) = rows(tmp_path / "archive")
    assert row["time_source"] == "file"


def test_a_video_that_ends_early_says_so_once(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    whole = write_clip(tmp_path / "w.avi", [canvas((faces[0], 10 + i % 50, 40, 130)) for i in range(120)])
    (inbox / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 5])
    surveil(every=1)
    reasons = [row["reason"] for row in rows(tmp_path / "archive")]
    assert reasons[:-1] == [None] * (len(reasons) - 1)
    assert reasons[-1] == "truncated-video"


def test_a_video_that_states_no_length_is_cut_into_segments(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    """A unit holds no more frames than another one's, and has the time for all that it holds."""
    n = 2 * FRAMES_PER_SEGMENT + 3
    pictures = [canvas()] * (n - 1) + [canvas((faces[0], 10, 40, 130))]
    without_length(write_clip(inbox / "piped.mkv", pictures))
    limits: list[float] = []
    add = TimeoutWatcher.add
    monkeypatch.setattr(
        TimeoutWatcher, "add", lambda self, future, s: (limits.append(s), add(self, future, s))
    )
    surveil(every=1)
    found = rows(tmp_path / "archive")
    assert [(row["frame"], row["reason"]) for row in found] == [
        *((number, "no-face-detected") for number in range(n - 1)), (n - 1, None),
    ]  # fmt: skip
    assert limits[1:4] == [default_limit_s(frames) for frames in (FRAMES_PER_SEGMENT, FRAMES_PER_SEGMENT, 3)]


def test_bounds_of_decoders(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "huge.png", np.zeros((500, 400, 3), np.uint8))
    write_clip(inbox / "huge.mp4", [np.zeros((480, 640, 3), np.uint8)] * 3)
    write_clip(inbox / "long.avi", [canvas((faces[0], 10, 40, 130))] * 9)
    whole = write_clip(tmp_path / "whole.avi", [canvas((faces[1], 10 + i, 40, 130)) for i in range(40)])
    (inbox / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    surveil(every=3, max_pixels=100_000, max_frames=2)
    found = [
        (row["source"], row["frame"], row["reason"]) for row in rows(tmp_path / "archive") if row["reason"]
    ]
    assert sorted(found, key=str) == [
        ("cut.avi", 6, "too-long"),
        ("huge.mp4", None, "too-many-pixels"),
        ("huge.png", None, "too-many-pixels"),
        ("long.avi", 6, "too-long"),
    ]
    surveil(out="unbounded", every=1)
    reasons = [row["reason"] for row in rows(tmp_path / "unbounded") if row["source"] == "cut.avi"]
    assert reasons[-1] == "truncated-video"
    assert 1 < len(reasons) < 40


def test_hostile_names_and_contents(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    outside = write(tmp_path / "outside" / "secret.png", canvas((faces[0], 10, 40, 130)))
    (inbox / "link.png").symlink_to(outside)
    (inbox / "folder").symlink_to(outside.parent)
    os.mkfifo(inbox / "pipe.png")
    (inbox / "folder.png").mkdir()
    picture = write(tmp_path / "p.png", canvas((faces[1], 10, 40, 130))).read_bytes()
    for number, name in enumerate([b"line\nbreak.png", b"\xff\xfe.png", b"..png", b"%d '; drop table.png"]):
        (Path(os.fsdecode(os.fsencode(inbox) + b"/" + name))).write_bytes(picture + bytes([number]))
    target = write(tmp_path / "outside" / "leak.png", canvas((faces[2], 10, 40, 130)))
    (inbox / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{target}\n")
    (inbox / "concat.avi").write_text(f"ffconcat version 1.0\nfile {target}\n")
    summary = surveil()
    found = {row["source"]: row["reason"] for row in rows(tmp_path / "archive")}
    assert found == {
        "line\nbreak.png": None,
        "\\xff\\xfe.png": None,
        "%d '; drop table.png": None,
        "list.mp4": "not-a-video",
        "concat.avi": "not-a-video",
    }
    assert summary.listing.other == 4
    inside = {path.parent for path in (tmp_path / "archive" / "pixels").rglob("*.glb")}
    assert len(inside) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "inbox", "outside", "p.png"}


def test_without_pixels_only_rows_stay(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    surveil(no_pixels=True)
    (row,) = rows(tmp_path / "archive")
    assert row["thickness_px"] > 0
    assert (row["image_path"], row["volume_path"], row["mesh_path"]) == (None, None, None)
    assert {path.suffix for path in (tmp_path / "archive").rglob("*") if path.is_file()} == {
        ".json", ".parquet", "",
    }  # fmt: skip


def test_pixels_are_deleted_after_their_days_and_rows_stay(
    surveil, inbox: Path, tmp_path: Path, faces
) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    write(inbox / "none.png", canvas())
    surveil()
    archive = tmp_path / "archive"
    now = datetime.now(UTC).replace(tzinfo=None)
    assert expire(Archive(archive), 3, now + timedelta(days=3)) == 0
    assert len(pixels(archive)) == 3
    before = rows(archive)
    assert expire(Archive(archive), 3, now + timedelta(days=4)) == 1
    assert pixels(archive) == []
    gone, none = rows(archive)[0], rows(archive)[1]
    if gone["reason"]:
        gone, none = none, gone
    assert gone["pixels_deleted"]
    assert not none["pixels_deleted"]
    assert {gone[name] for name in ("image_path", "volume_path", "mesh_path")} == {None}
    assert [row["thickness_px"] for row in rows(archive)] == [row["thickness_px"] for row in before]
    # What was deleted is not made again.
    assert surveil().inputs == 0


def test_a_clock_that_went_backwards_is_named(
    surveil, inbox: Path, tmp_path: Path, faces, caplog: pytest.LogCaptureFixture
) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    surveil()
    now = datetime.now(UTC).replace(tzinfo=None)
    with caplog.at_level("WARNING", "facepipe"):
        assert expire(Archive(tmp_path / "archive"), 3, now) == 0
        assert not caplog.messages
        assert expire(Archive(tmp_path / "archive"), 3, now - timedelta(days=30)) == 0
    assert "was the clock wrong" in caplog.text
    assert len(pixels(tmp_path / "archive")) == 3


def test_two_runs_at_once(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    archive = Archive(tmp_path / "archive")
    with archive.lock():
        with pytest.raises(RunConflictError, match="--wait"):
            surveil()
        waiting = threading.Thread(target=surveil, kwargs={"wait": True})
        waiting.start()
        time.sleep(0.3)
        assert not archive.exists()
    waiting.join(60)
    assert len(rows(archive.path)) == 1


@pytest.fixture
def busy_inbox(inbox: Path, faces) -> Path:
    """Pictures with two faces each, a copy, and a clip."""
    for i in range(3):
        write(inbox / f"{i}.png", canvas((faces[i], 10, 40, 130), (faces[i + 1], 200, 10, 40)))
    (inbox / "copy.png").write_bytes((inbox / "0.png").read_bytes())
    write_clip(inbox / "clip.avi", [canvas((faces[5], 10 + i, 40, 100)) for i in range(12)])
    return inbox


@pytest.mark.slow
def test_killed_in_any_stage_the_archive_ends_the_same(
    surveil, busy_inbox: Path, tmp_path: Path, address: str
) -> None:
    surveil("undisturbed", wave_frames=3)
    archive = tmp_path / "archive"
    script = [sys.executable, str(Path(__file__).parents[1] / "support" / "inboxes.py")]
    for stage in ("detect", "regress", "rows"):
        process = subprocess.Popen([*script, busy_inbox, archive, address], stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not any(archive.glob(f"batches/*/**/{stage}/**/*.parquet")):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL, errors
    summary = surveil(wave_frames=3)
    assert summary.inputs + summary.duplicates + summary.known == summary.listing.files == 5
    assert_same(archive, tmp_path / "undisturbed")


@pytest.mark.parametrize("again", [{}, {"method": "bicubic", "reprocess": True}], ids=["new", "reprocess"])
def test_stopped_between_any_two_steps_the_archive_ends_the_same(
    surveil, busy_inbox: Path, tmp_path: Path, monkeypatch, again: dict
) -> None:
    for out in ("undisturbed", "archive") if again else ():
        surveil(out)
    surveil("undisturbed", wave_frames=3, **again)
    left = 0

    def failing(step):
        def wrapped(*arguments, **options):
            nonlocal left
            if threading.current_thread() is threading.main_thread():  # as with Ctrl-C: Zarr has others
                left -= 1
                if left < 0:
                    raise KeyboardInterrupt
            return step(*arguments, **options)

        return wrapped

    monkeypatch.setattr(Path, "replace", failing(Path.replace))
    monkeypatch.setattr(Path, "unlink", failing(Path.unlink))
    monkeypatch.setattr("shutil.rmtree", failing(shutil.rmtree))
    monkeypatch.setattr(ArchiveTable, "commit", failing(ArchiveTable.commit))
    stops = 0
    while stops < 100:
        # One step more each time, so that every step is once the one at which a run ends.
        left = stops
        try:
            surveil(wave_frames=3, **again)
            break
        except KeyboardInterrupt:
            stops += 1
    assert 8 < stops < 100
    monkeypatch.undo()
    surveil(wave_frames=3, **again)
    assert_same(tmp_path / "archive", tmp_path / "undisturbed")


def assert_same(archive: Path, undisturbed: Path) -> None:
    assert comparable(archive) == comparable(undisturbed)
    assert pixels(archive) == pixels(undisturbed)
    assert not list((archive / "batches").iterdir())
    assert not list(archive.rglob("*.tmp"))


def test_work_begun_under_another_configuration_is_begun_again(
    surveil, inbox: Path, tmp_path: Path, faces, monkeypatch
) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 40)))
    monkeypatch.setattr(steps, "write_rows", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        surveil()
    assert any(path.is_file() for path in (tmp_path / "archive" / "pixels").rglob("*"))
    monkeypatch.undo()
    surveil(method="bicubic")
    (row,) = rows(tmp_path / "archive")
    assert row["method"] == "bicubic"
    assert len(pixels(tmp_path / "archive")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inbox": "nowhere"}, "no such folder"),
        ({"out": "inbox/archive"}, "cannot lie in its inbox"),
        ({"out": "a%20b"}, "a b: rename the folder"),
        ({"method": "bicubc"}, "did you mean 'bicubic'"),
        ({"regressor": "none"}, "needs one"),
        ({"cluster": "nonsense"}, "cluster 'nonsense'"),
        ({"every": 2, "per_second": 1}, "exclude each other"),
        ({"evry": 2}, "did you mean 'every'"),
        ({"max_frames": 0}, "max_frames"),
    ],
)
def test_wrong_usage_makes_nothing(options, message: str, inbox: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    values = {"inbox": "inbox", "out": "archive"} | options
    paths = {name: tmp_path / values[name] for name in ("inbox", "out")}
    with pytest.raises(UsageError, match=message):
        driver.check(validated(SurveilConfig, values | paths, "options"))
    assert {path.name for path in tmp_path.iterdir()} == {"inbox"}


def test_the_command_line(inbox: Path, tmp_path: Path, address: str, monkeypatch) -> None:
    monkeypatch.setattr(rules, "open_detector", lambda _: BrightDetector())
    write(inbox / "none.png", canvas())
    missing = CliRunner().invoke(facepipe, ["surveil", str(inbox)])
    assert isinstance(missing.exception, UsageError)
    assert str(missing.exception).startswith("--out is needed")
    (tmp_path / "night.yaml").write_text(f"inbox: {inbox}\nsettle-seconds: 0\nno_pixels: true\n")
    arguments = ["--config", tmp_path / "night.yaml", "--out", tmp_path / "archive", "--cluster", address]
    done = CliRunner().invoke(facepipe, ["surveil", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    assert "1 files: 1 new inputs" in done.output
    assert "0 faces restored; 1 no-face-detected" in done.output
    assert re.search(r"detect +1 frames", done.output)


def test_status_and_clean_know_archives(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "a.png", canvas((faces[0], 10, 40, 130)))
    (inbox / "copy.png").write_bytes((inbox / "a.png").read_bytes())
    write(inbox / "none.png", canvas())
    surveil()
    archive = Archive(tmp_path / "archive")
    said = CliRunner().invoke(facepipe, ["status", str(archive.path)], catch_exceptions=False).output
    assert "no run is working on it" in said
    assert "3 files read, 2 inputs, 1 faces" in said
    assert "1 no-face-detected" in said
    assert str(datetime.now(UTC).year) in said
    with archive.lock():
        said = CliRunner().invoke(facepipe, ["status", str(archive.path)], catch_exceptions=False).output
    assert "a run is working on it" in said
    (archive.batches_path / "000009").mkdir()
    said = CliRunner().invoke(facepipe, ["status", str(archive.path)], catch_exceptions=False).output
    assert "interrupted" in said
    (archive.batches_path / "000009").rmdir()
    verify = ["status", str(archive.path), "--verify"]
    said = CliRunner().invoke(facepipe, verify, catch_exceptions=False).output
    assert "every table and volume is what was written" in said
    with archive.lock():
        refused = CliRunner().invoke(facepipe, verify)
    assert isinstance(refused.exception, RunConflictError)
    before = pixels(archive.path)
    refused = CliRunner().invoke(facepipe, ["clean", str(archive.path)])
    assert isinstance(refused.exception, UsageError)
    assert "--retain-days" in str(refused.exception)
    assert pixels(archive.path) == before


def test_the_method_is_the_same_wherever_none_is_named() -> None:
    (option,) = (option for option in reconstruct.params if option.name == "method")
    assert option.default == DEFAULT_METHOD == SurveilConfig.model_fields["method"].default


def test_a_folder_with_something_else_is_no_archive(surveil, inbox: Path, tmp_path: Path) -> None:
    write(tmp_path / "archive" / "holiday.png", canvas())
    with pytest.raises(RunConflictError, match="not empty"):
        surveil()


def test_an_archive_is_asked_beside_runs(surveil, inbox: Path, tmp_path: Path, faces) -> None:
    write(inbox / "it's.png", canvas((faces[0], 10, 40, 130)))
    surveil(out="it's")
    assert ask(tmp_path, "select source from faces").rows == [("it's.png",)]
    assert ask(tmp_path / "it's", "select count(*) from scores").rows == [(0,)]
    with pytest.raises(UsageError):
        ask(tmp_path / "it's", "select * from read_csv('/etc/passwd')")
