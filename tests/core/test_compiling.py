"""Compiled loops where nothing can be written: neither beside the source nor at home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from facepipe.core.numba_cache import VARIABLE, find_cache


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package beside which there can be no cache (root may write anywhere else), and no home."""
    package = tmp_path / "facepipe"
    package.mkdir()
    (package / "__pycache__").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(VARIABLE, "")
    return package


def test_loops_can_be_imported_and_are_kept(nowhere: Path) -> None:
    modules = ("__init__", "core/__init__", "core/numba_cache", "core/conventions", "geometry/__init__")
    for name in (*modules, "geometry/kernels"):
        copy = nowhere / f"{name}.py"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "facepipe" / f"{name}.py", copy)
    code = (
        "import os, numpy; from facepipe.geometry import kernels\n"
        "ones = numpy.full((8, 8), 255, numpy.uint8)\n"
        "print(*kernels.count_inside(*[kernels.pack_inside(ones)] * 2), kernels.__file__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=nowhere.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["64", "64", str(nowhere / "geometry" / "kernels.py")]
    (folder,) = (nowhere.parent / "temporary").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbi"))


def test_a_folder_that_others_may_write_is_not_used(nowhere: Path) -> None:
    theirs = nowhere.parent / "temporary" / f"facepipe-numba-{os.getuid()}"
    theirs.mkdir()
    theirs.chmod(0o777)
    find_cache(nowhere)
    found = Path(os.environ[VARIABLE])
    assert found != theirs and found.parent == theirs.parent
    assert found.stat().st_mode & 0o777 == 0o700


def test_where_there_is_a_place_nothing_is_set(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(nowhere.parent))
    find_cache(nowhere)
    assert os.environ[VARIABLE] == ""
    monkeypatch.setenv("HOME", "/dev/null")
    (nowhere / "__pycache__").unlink()
    find_cache(nowhere)
    assert os.environ[VARIABLE] == ""
