"""Workers are not the driver: what they must have in common before a unit runs on one.

A worker of another version, without the run's folder or without the photos would give wrong numbers, or
blame photos for what is wrong with itself. So every worker process is asked before its first unit in a run,
however late it joined: the same facepipe, the run's folder, a listed file. It costs some 30 ms once.
The digests of weights are compared by the jobs, for each unit (`check_weights`).
"""

from __future__ import annotations

import functools
import pickle
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import get_worker

import facepipe
from facepipe.core.errors import (
    EnvironmentTroubleError,
    RunConflictError,
    UsageError,
    WeightsError,
)
from facepipe.core.files import write_atomically
from facepipe.pipeline import worker_guard
from facepipe.pipeline.job import ListedFileGoneError, Reasons, Site, environment_trouble
from facepipe.pipeline.time_limits import STARTED

GO_ON = "repeat the command, which goes on from here"
MAX_FILES = 8
_TOKEN_PREFIX = ".seen-"
_CALL = "(exec(guard, globals()), run_guarded(asked, payload))[1]"


def readable(files: Iterable[tuple[Path, int]]) -> tuple[tuple[str, int], ...]:
    """A few of the listed files, by (path, bytes), that this process can read: each worker must read one."""
    found: list[tuple[str, int]] = []
    for path, size_bytes in files:
        with suppress(OSError), path.open("rb") as file:
            if file.read(1) and file.seek(0, 2) == size_bytes:
                found.append((str(path), size_bytes))
        if len(found) == MAX_FILES:
            break
    return tuple(found)


@dataclass(frozen=True)
class Guard:
    """Wraps what is sent to workers, so that unfit ones refuse it.

    Attributes:
        asked: of a worker, see `worker_guard.run_guarded`.
    """

    asked: Mapping[str, Any]

    def task(self, function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], str, dict]:
        """What to submit to Dask: every Python can run it, whatever is installed there."""
        payload = pickle.dumps((function, arguments))
        names = {"guard": _guard_source(), "asked": dict(self.asked), "payload": payload}
        return eval, _CALL, names


def unwrapped(answer: tuple[str, Any]) -> Any:
    """What a guarded function returned.

    Raises:
        EnvironmentTroubleError: the worker is not fit for the run.
    """
    kind, value = answer
    if kind == "trouble":
        raise EnvironmentTroubleError(f"{value}; then {GO_ON}")
    return value


@contextmanager
def guarding(site: Site) -> Iterator[Guard]:
    """Leave a token in the run's folder for as long as workers may be asked for it."""
    for left in site.folder.glob(f"{_TOKEN_PREFIX}*"):  # a driver that was killed took no leave
        left.unlink(missing_ok=True)
    token = secrets.token_hex(16)
    path = site.folder / f"{_TOKEN_PREFIX}{token}"
    with environment_trouble(site.folder):
        is_private = site.folder.exists() and not site.folder.stat().st_mode & 0o077
        write_atomically(path, token.encode(), is_private)
    version, source = _own_package()
    try:
        yield Guard(
            {
                "topic": STARTED,
                "token": token,
                "token_path": str(path),
                "files": site.files,
                "package": facepipe.__name__,
                "version": version,
                "source": source,
            }
        )
    finally:
        path.unlink(missing_ok=True)


def check_weights(expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    """Compare the digests of the weights that a unit will use on this worker with those of the run.

    Args:
        expected: by what runs call them.
        found: what they are here.

    Raises:
        EnvironmentTroubleError: one differs; it names the worker.
    """
    for name, digest in found.items():
        if expected.get(name, digest) != digest:
            raise EnvironmentTroubleError(
                f"worker {this_worker()[1]}: the weights of {name} ({digest[:12]}) are not those of the run "
                f"({expected[name][:12]}); import the same file there, then {GO_ON}"
            )


@contextmanager
def known_to_the_driver() -> Iterator[None]:
    """Turn what a worker does not know into trouble of the environment: the driver knew it.

    Raises:
        EnvironmentTroubleError: a name is unknown on this worker, a file or a package is missing.
    """
    try:
        yield
    except RunConflictError:
        raise
    except (UsageError, WeightsError) as error:
        raise EnvironmentTroubleError(
            f"worker {this_worker()[1]}: {error}; the driver has it: install or import the same there, then "
            f"{GO_ON}"
        ) from error


def check_gone(gone: Mapping[int, tuple[str, str]], skip: Reasons) -> None:
    """Refuse to blame samples whose listed file is gone, unless the engine has looked elsewhere, too.

    Args:
        gone: index of a sample -> (code, sentence).
        skip: samples that were given up before.

    Raises:
        ListedFileGoneError: there are some that were not looked for elsewhere yet.
    """
    new = {index: why for index, why in gone.items() if index not in skip}
    if new:
        raise ListedFileGoneError(this_worker()[0], new)


def this_worker() -> tuple[str, str]:
    """Address of the worker that asks, and how messages call it; 'here' outside of one."""
    try:
        worker = get_worker()
    except ValueError:
        return "here", "here"
    return str(worker.address), worker_guard.called(worker)


@functools.cache
def _own_package() -> tuple[str, str]:
    return facepipe.__version__, worker_guard.source_digest(Path(facepipe.__file__).parent)


@functools.cache
def _guard_source() -> str:
    return Path(worker_guard.__file__).read_text(encoding="utf-8")
