"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and checkpoints, where the machine has one."""
    folder = Path(os.environ.get("FACEPIPE_REAL_DATA", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip("no real data here: set FACEPIPE_REAL_DATA to a folder that has it")
    return folder


@pytest.fixture(autouse=True)
def facepipe_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from the user's imported models."""
    home = tmp_path / "facepipe-home"
    monkeypatch.setenv("FACEPIPE_HOME", str(home))
    return home
