"""Runs through a whole deployment: every part a process of its own, the results those of one machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from frames import grey, put, shipped
from inboxes import write, write_clip
from prefect_server import SMALL, Prefect
from processes import Processes
from rehearsal import Rehearsal

# Under a minute on idle cores; ten processes on busy ones take their time.
pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory, prefect: Prefect) -> Iterator[Rehearsal]:
    with Rehearsal(tmp_path_factory.mktemp("rehearsal"), prefect) as running:
        yield running


def scores(run: Path):
    return pq.read_table(run / "scores.parquet").drop_columns(["seconds"])


def test_a_benchmark(rehearsal: Rehearsal, prefect: Prefect, by_hand: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # The deployment's own default names the cluster, from the environment that it was registered in.
    run = prefect.run("sr-benchmark", out=out, **SMALL)
    assert run["state_type"] == "COMPLETED", run["state"]
    facts = json.loads((out / "run.json").read_text())
    assert facts["config"]["cluster"] == rehearsal.cluster
    assert facts["networks_on"] == "GPU workers"
    cpu, gpu = rehearsal.stages_of("cpu"), rehearsal.stages_of("gpu")
    # Two shards: regressing the reference and the restored images makes six units, restoring four.
    assert (cpu.count("regress"), gpu.count("regress")) == (0, 6)
    assert (cpu.count("restore"), gpu.count("restore")) == (0, 4)
    assert (cpu + gpu).count("ingest") == (cpu + gpu).count("degrade") == 2
    assert scores(out).equals(scores(by_hand))
    assert scores(out).num_rows == 4 * 3


def test_a_surveillance_batch(rehearsal: Rehearsal, prefect: Prefect, tmp_path: Path) -> None:
    first, second = grey(480, 360), grey(480, 360)
    for frame, sample in zip((first, second), shipped(2), strict=True):
        put(frame, sample, 60, (240, 180))
    inbox = tmp_path / "inbox"
    write(inbox / "yard" / "first.png", first)
    write(inbox / "none.png", grey(320, 240))
    write_clip(inbox / "clip.mp4", [first, second])
    before = len(rehearsal.stages_of("gpu"))
    options = {"inbox": inbox, "settle_seconds": 0, "every": 1}
    run = prefect.run("surveillance", out=tmp_path / "archive", **options)
    assert run["state_type"] == "COMPLETED", run["state"]
    on_gpu = rehearsal.stages_of("gpu")[before:]
    assert "regress" in on_gpu
    assert "regress" not in rehearsal.stages_of("cpu")

    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))][
        2:
    ]
    command = [sys.executable, "-m", "facepipe", "surveil", inbox, "--out", tmp_path / "alone", *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    found, alone = (faces(tmp_path / name) for name in ("archive", "alone"))
    assert found == alone
    assert [row["reason"] for row in found].count(None) == 3
    assert [row["reason"] for row in found].count("no-face-detected") == 1


def faces(archive: Path) -> list[dict]:
    """An archive's rows without what differs from run to run: when they were stored, in which batch."""
    rows = pq.read_table(archive / "faces.parquet").sort_by("face_id").to_pylist()
    for row in rows:
        del row["stored"]
        for name in ("image_path", "volume_path", "mesh_path"):
            row[name] = row[name] and Path(row[name]).name
    return rows


def test_nothing_stays_behind_even_what_does_not_want_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processes.STOP_SECONDS", 1)
    processes = Processes(tmp_path, dict(os.environ))
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "print('ready', flush=True); time.sleep(600)\n"
    )
    (tmp_path / "stubborn.py").write_text(code)
    processes.environment["PYTHONPATH"] = str(tmp_path)
    processes.start("stubborn", "stubborn")
    while "ready" not in (tmp_path / "stubborn.log").read_text():
        time.sleep(0.05)
    assert len(processes.left()) == 2
    processes.stop()
    assert processes.left() == []
