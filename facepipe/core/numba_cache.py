"""Choose the folder in which Numba caches compiled functions."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


def find_cache(package: Path) -> None:
    """See to it that Numba has a place for what it compiles, before it is imported.

    Numba keeps compiled loops beside their source, or else in the user's cache folder. Where it may write
    to neither, as in a service account without a home, every module with such a loop fails on import: there,
    the variable gets a folder of this user's among the temporary ones.

    Args:
        package: the folder of the source.
    """
    # As Numba has it; where nobody knows of a home, the '~' stays, and Path.expanduser would fail.
    cache = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))  # noqa: PTH111
    if os.environ.get(VARIABLE) or _is_usable(package / "__pycache__") or _is_usable(Path(cache, "numba")):
        return
    os.environ[VARIABLE] = str(_own_temporary())


def _is_usable(folder: Path) -> bool:
    """Whether a folder can be written, or be made."""
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        return folder.is_absolute() and there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        return False


def _own_temporary() -> Path:
    """A folder that nobody else may write: what lies there will be run."""
    import stat
    import tempfile

    folder = Path(tempfile.gettempdir(), f"facepipe-numba-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="facepipe-numba-"))
