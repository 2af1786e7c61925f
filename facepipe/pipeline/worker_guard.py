"""What a worker does before anything of facepipe runs there.

This file travels to the worker as source text: the worker may have another facepipe, or none. So nothing of
facepipe is imported here, and what is found comes back as plain text.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distributed import get_worker

ANSWER_S = 60.0
"""How long a worker's file systems may take to answer; a dead network mount never does."""

_CODE, _DATA, _OTHER_DATA = ".py", "data", "weights"


def run_guarded(asked: dict[str, Any], payload: bytes) -> tuple[str, Any]:
    """Run a function on a worker that is fit for it.

    Args:
        asked: `topic` of the event that says that a task begins; `token` of the run; `token_path` of the file
            that holds it; `files`, (path, bytes) of listed files; `package`, `version` and `source` of the
            driver's facepipe.
        payload: pickle of a function and its arguments.

    Returns:
        ('done', what the function returned) or ('trouble', what is wrong with the worker).
    """
    worker: Any = get_worker()
    worker.log_event(asked["topic"], worker.get_current_task())
    passed = worker.__dict__.setdefault("_facepipe_runs", {})
    if asked["token"] not in passed:
        trouble = _within(ANSWER_S, lambda: _other_package(asked, passed) or _out_of_sight(asked))
        if trouble:
            return "trouble", f"worker {called(worker)}: {trouble}"
        passed[asked["token"]] = asked["source"]
    try:
        function, arguments = pickle.loads(payload)
    except (ImportError, AttributeError) as error:
        trouble = f"it lacks what the driver has ({error}); install it there, too"
        return "trouble", f"worker {called(worker)}: {trouble}"
    try:
        return "done", function(*arguments)
    except Exception as error:
        if getattr(error, "doubts_worker", False):
            trouble = _within(ANSWER_S, lambda: _out_of_sight(asked))
            if trouble:
                return "trouble", f"worker {called(worker)}: {trouble}"
        raise


def called(worker: Any) -> str:
    """How messages call a worker: by its address, and by its name where it has one."""
    name = str(worker.name)
    return str(worker.address) if name in (worker.address, "") else f"{worker.address} ({name})"


def source_digest(folder: Path) -> str:
    """Hex digest of a package's code and data by their paths, without weights, which have their own."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        wanted = path.suffix == _CODE or (parts[0] == _DATA and parts[:2] != (_DATA, _OTHER_DATA))
        if wanted and not any(part.startswith((".", "__pycache__")) for part in parts) and path.is_file():
            data = path.read_bytes()
            digest.update(f"{'/'.join(parts)}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


def stated_version(folder: Path) -> str:
    """The version that a package's code states."""
    found = re.search(r"^__version__ = \"(.+)\"$", (folder / "__init__.py").read_text("utf-8"), re.MULTILINE)
    return found[1] if found else "?"


def _other_package(asked: dict[str, Any], passed: dict[str, str]) -> str:
    """How the worker's package differs from the driver's; '' if it does not."""
    if asked["source"] in passed.values():
        return ""  # in memory since an earlier run
    name = asked["package"]
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return f"{name} is not installed there; install {name} {asked['version']}"
    folder = Path(spec.submodule_search_locations[0])
    if name in sys.modules and passed:
        return f"it has another {name} in memory than the driver; start it again"
    try:
        version, source = stated_version(folder), source_digest(folder)
    except OSError as error:
        return f"{name} at {folder} cannot be read ({error.strerror})"
    if source == asked["source"]:
        return ""
    return (
        f"{name} {version} at {folder} (source {source[:12]}) is not the driver's {asked['version']} (source "
        f"{asked['source'][:12]}); install the driver's there and start the worker again"
    )


def _out_of_sight(asked: dict[str, Any]) -> str:
    """Which of the run's places the worker does not see; '' if it sees all."""
    path = Path(asked["token_path"])
    try:
        if path.read_text() != asked["token"]:
            return f"the folder {path.parent} is another one there than the driver's; mount the same one"
    except OSError as error:
        return (
            f"it does not see the run in {path.parent} ({error.strerror}); mount that folder there under the "
            "same path"
        )
    unseen = [text for text in (_unreadable(*file) for file in asked["files"]) if text]
    if unseen and len(unseen) == len(asked["files"]):
        return f"it cannot read what was listed: {unseen[0]}; mount that folder there under the same path"
    return ""


def _unreadable(name: str, size_bytes: int) -> str:
    """Why a listed file cannot be read; '' if it can."""
    try:
        with Path(name).open("rb") as file:
            file.read(1)
            found = file.seek(0, 2)
    except OSError as error:
        return f"{name} ({error.strerror})"
    return "" if found == size_bytes else f"{name} ({found} bytes instead of {size_bytes})"


def _within(seconds: float, look: Callable[[], str]) -> str:
    """What a look at file systems finds, or that they do not answer."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(look()), daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else f"its file systems did not answer within {seconds:g} s; mend its mounts"
