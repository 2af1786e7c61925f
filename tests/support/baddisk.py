"""A folder in which nothing can be changed for a while, for every process that imports this.

Root may write wherever it likes, so that permissions do not do. What the kernel would refuse is refused
when Python is about to ask for it, with the same error: opening for writing, renaming, making and deleting.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

STORE = "BAD_DISK_STORE"
SWITCH = "BAD_DISK_SWITCH"
"""Environment variables: the folder, and a file that holds the error's number while the disk is bad."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {"os.remove": 1, "os.rmdir": 1, "os.mkdir": 2, "os.rename": 2, "os.chmod": 2}
"""Events of Python, and which argument is the descriptor of the folder that the path starts from."""


def arm(store: Path, switch: Path) -> None:
    """Let this process and those that it starts meet the bad disk."""
    os.environ[STORE], os.environ[SWITCH] = str(store.absolute()), str(switch.absolute())
    obey()


def obey() -> None:
    """Meet the bad disk that the environment names, if it names one."""
    if STORE not in os.environ:
        return
    store, switch = Path(os.environ[STORE]), Path(os.environ[SWITCH])

    def refuse(event: str, arguments: tuple) -> None:
        changes = event in _CHANGES or (event == "open" and arguments[2] & _WRITING)
        if not changes or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        folder = arguments[_CHANGES[event]] if event in _CHANGES else -1
        start = Path(f"/proc/self/fd/{folder}").readlink() if folder >= 0 else Path.cwd()
        path = start / os.fsdecode(arguments[0])
        if path != store and store not in path.parents:
            return
        try:
            number = int(switch.read_text())
        except (FileNotFoundError, ValueError):
            return
        if event == "os.mkdir" and path.is_dir():
            return  # 'it exists' comes first
        raise OSError(number, os.strerror(number), str(path))

    sys.addaudithook(refuse)
