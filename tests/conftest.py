"""Shared fixtures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facepipe.surveil.archive import Archive

if TYPE_CHECKING:
    from prefect_server import Prefect

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a server first, then slow ones: of two processes none is left with a slow one in the end."""
    server, slow = (
        {item.path for item in items if item.get_closest_marker(name)} for name in ("server", "slow")
    )
    items.sort(key=lambda item: (item.path not in server, item.path not in slow))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Every file stays in one process, whose modules' fixtures are made once, and so do all with a server."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "server" if _has_server(file) else file

    return ByFile(config, log)


@cache
def _has_server(file: str) -> bool:
    return "pytest.mark.server" in (ROOT / file).read_text()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and checkpoints, where the machine has one."""
    folder = Path(os.environ.get("FACEPIPE_REAL_DATA", ROOT.parent / "shared" / "real"))
    if not folder.is_dir():
        pytest.skip("no real data here: set FACEPIPE_REAL_DATA to a folder that has it")
    return folder


@pytest.fixture
def asked_to_end() -> Iterator[None]:
    """Requests to end interrupt, also where the tests run in the background, in which Ctrl-C is ignored."""
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive without a face."""
    archive = Archive(tmp_path / "archive")
    with archive.lock():
        archive.create()
    return archive


@pytest.fixture(autouse=True)
def facepipe_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test away from the user's imported models."""
    home = tmp_path / "facepipe-home"
    monkeypatch.setenv("FACEPIPE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    """A Prefect server from nothing, with all deployments and a worker, set up once by the README's commands.

    The deployments name a cluster at `environment["FACEPIPE_CLUSTER"]`, where nothing listens yet.
    """
    from prefect_server import Prefect
    from processes import free_port

    cluster = f"tcp://127.0.0.1:{free_port()}"
    with Prefect(tmp_path_factory.mktemp("prefect"), FACEPIPE_CLUSTER=cluster) as running:
        running.deploy()
        yield running


@pytest.fixture(scope="session")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `facepipe bench` makes of `prefect_server.SMALL` in one local process."""
    from prefect_server import SMALL

    out = tmp_path_factory.mktemp("by-hand") / "run"
    words = [word for name, value in SMALL.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "facepipe", "bench", *words, "--workers", "1", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    return out
