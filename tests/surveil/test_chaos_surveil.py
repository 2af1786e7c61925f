"""Whatever happens to a surveillance run on the way, the archive in the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inboxes import FATAL, canvas, sample_faces, write, write_clip
from monkey import ARCHIVE_DAMAGE, BAD_DISK, DISTURBANCES, FULL_DISK, Monkey, report
from outcomes import check_archive
from watchers import HANGING

SUPPORT = Path(__file__).parents[1] / "support"
SEEDS = range(int(os.environ.get("CHAOS_SEEDS", "3")))


def fill(inbox: Path, pictures: int, clips: int) -> None:
    """Pictures with a face each, a copy of one, and clips of which two frames are looked at."""
    faces = sample_faces(6)
    for i in range(pictures):
        write(inbox / f"{i:02d}.png", canvas((faces[i % 6], 10 + i, 40, 40 + 10 * (i % 10))))
    (inbox / "copy.png").write_bytes((inbox / "00.png").read_bytes())
    for i in range(clips):
        moving = [canvas((faces[i % 6], 10 + i + j, 40, 100)) for j in range(2)]
        write_clip(inbox / f"{i:02d}.avi", moving)


def marked(inbox: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Give a picture the colour that makes the detector misbehave."""
    picture = canvas((np.full((50, 50, 3), 200, np.uint8), 30, 30, 90))
    picture[0, 0] = colour
    write(inbox / name, picture)


def command(traces: Path, inbox: Path, archive: Path, settings: dict, *options: str) -> list[str]:
    traces.mkdir(exist_ok=True)
    what = [str(inbox), "--settle-seconds", "0", "--every", "1", "--wave-frames", "6"]
    return [
        *(sys.executable, str(SUPPORT / "chaotic.py"), "surveil", str(traces), json.dumps(settings)),
        *(*what, "--workers", "2", *options, "--out", str(archive)),
    ]


def undisturbed(tmp_path: Path, inbox: Path) -> Path:
    archive = tmp_path / "undisturbed"
    words = command(tmp_path / "calm", inbox, archive, {"fatal": False, "hangs": False}, "--workers", "1")
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return archive


@pytest.fixture(autouse=True)
def quick_to_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is stopped before it says that it begins is missed after 20 s instead of 300."""
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL", "20s")


@pytest.mark.slow
def test_kills_a_bad_disk_and_damage_change_nothing(tmp_path: Path) -> None:
    inbox, archive, traces = tmp_path / "inbox", tmp_path / "archive", tmp_path / "traces"
    fill(inbox, 4, 4)
    calm = undisturbed(tmp_path, inbox)
    words = command(traces, inbox, archive, {"seconds": 0.1})
    monkey = Monkey(words, archive, random.Random(0), switch=tmp_path / "traces.switch")
    plan = ["kill a worker", "kill the driver", *ARCHIVE_DAMAGE, "make the store read-only"]
    tally = monkey.torment(plan)
    check_archive(archive, calm, inbox, {})
    assert sorted(tally.done) == sorted(plan)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_long_bad_night(seed: int, tmp_path: Path) -> None:
    inbox, archive, traces = tmp_path / "inbox", tmp_path / "archive", tmp_path / "traces"
    fill(inbox, 12, 20)
    marked(inbox, "03b.png", FATAL)
    marked(inbox, "07b.png", HANGING)
    calm = undisturbed(tmp_path, inbox)
    rng = random.Random(seed)
    plan = [[what] for what in [*DISTURBANCES, FULL_DISK, *BAD_DISK]]
    plan += [["kill the driver", what] for what in [*ARCHIVE_DAMAGE, *ARCHIVE_DAMAGE]]
    rng.shuffle(plan)
    words = command(traces, inbox, archive, {"seconds": 0.2}, "--unit-timeout-s", "40")
    monkey = Monkey(words, archive, rng, 3000, switch=tmp_path / "traces.switch")
    tally = monkey.torment([what for step in plan for what in step])
    check_archive(archive, calm, inbox, {"03b.png": "worker-died", "07b.png": "timed-out"})
    assert tally.done.total() >= 16
    report(f"surveil, seed {seed}", tally, traces)
