"""The example package: installed on its own, with a contract kept by each plug-in, and run in a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "examples" / "plugin_package"


def run(site: Path, *command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    places = [str(site), os.environ.get("PYTHONPATH", ""), str(ROOT)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, places))}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=400, env=env, cwd=cwd
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package is installed, beside nothing else."""
    target = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "package"
    source.mkdir()
    for name in ("pyproject.toml", "facepipe_example"):
        (source / name).symlink_to(PACKAGE / name)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    installed = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, source],
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert installed.returncode == 0, installed.stderr
    return target


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    for number in range(2):
        face = ROOT / "facepipe" / "data" / "sample" / f"face-0{number}.jpg"
        Image.open(face).resize((160, 160)).save(folder / f"{number}.png")
        np.save(folder / f"{number}.npy", np.linspace(0, 159, 136).reshape(68, 2))
    return folder


def test_every_plugin_keeps_its_contract(site: Path) -> None:
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", PACKAGE / "tests", cwd=PACKAGE)
    assert done.returncode == 0 and done.stdout.startswith("....."), done.stdout + done.stderr


def test_what_is_installed_is_listed_and_what_fails_costs_nothing_else(site: Path, tmp_path: Path) -> None:
    record = tmp_path / "broken-0.1.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Name: broken\nVersion: 0.1\n")
    (record / "entry_points.txt").write_text("[facepipe.methods]\nbroken = no_such_module:X\n")
    places = os.pathsep.join((str(site), str(tmp_path)))
    done = run(Path(places), "-m", "facepipe", "models", "plugins")
    assert done.returncode == 0
    assert "unusable: method 'broken': there is no module 'no_such_module'" in done.stderr
    listed = [line.split()[:2] for line in done.stdout.splitlines()]
    assert listed == [
        ["method", "unsharp"], ["regressor", "average-face"], ["metric", "gmsd"],
        ["dataset", "landmark-folder"],
    ]  # fmt: skip
    assert "facepipe-example 0.1.0, MIT" in done.stdout


@pytest.mark.slow
def test_a_run_of_all_four_records_them(site: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "at_hand.py").write_text(
        "from facepipe_example.method import Unsharp\nclass Mine(Unsharp):\n    low_px = (16,)\n"
    )
    out = tmp_path / "run"
    done = run(
        site, "-m", "facepipe", "bench", "--dataset", faces, "--kind", "landmark-folder", "--low-px", 16,
        "--methods", "bicubic,unsharp,at_hand:Mine", "--regressors", "average-face", "--metrics", "gmsd",
        "--workers", 1, "--out", out, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gmsd ↓" in done.stdout
    facts = json.loads((out / "run.json").read_text())
    recorded = {(plugin["kind"], plugin["name"]): plugin for plugin in facts["plugins"]}
    assert set(recorded) == {
        ("method", "unsharp"), ("method", "at_hand:Mine"), ("regressor", "average-face"), ("metric", "gmsd"),
        ("dataset", "landmark-folder"),
    }  # fmt: skip
    unsharp = recorded["method", "unsharp"]
    assert (unsharp["package"], unsharp["version"], unsharp["licence"]) == (
        "facepipe-example",
        "0.1.0",
        "MIT",
    )
    assert recorded["method", "at_hand:Mine"]["folder"] == str(tmp_path)
    assert len({plugin["source_sha256"] for plugin in facts["plugins"]}) == 2
    rows = {row["method"]: row for row in pq.read_table(out / "scores.parquet").to_pylist()}
    assert rows["reference"]["gmsd"] == 0.0 < rows["unsharp"]["gmsd"] < 0.5
    assert rows["unsharp"]["gmsd"] == rows["at_hand:Mine"]["gmsd"] != rows["bicubic"]["gmsd"]
    assert rows["unsharp"]["ref_iou"] == 1.0 and rows["unsharp"]["truth"] == "landmarks2d"
    page = (out / "report" / "index.html").read_text()
    assert "GMSD ↓" in page and "GMSD against resolution" in page
    again = run(site, "-m", "facepipe", "report", out)
    assert again.returncode == 0, again.stderr
    # Without the package tables and page are there all the same, and a wrong name suggests what is near.
    assert run(tmp_path, "-m", "facepipe", "report", out).returncode == 0
    wrong = run(site, "-m", "facepipe", "bench", "--methods", "unshrap", "--dry-run")
    assert wrong.returncode == 2 and "did you mean 'unsharp'" in wrong.stderr
