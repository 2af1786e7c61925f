"""Lock files, which the kernel releases however their process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import BinaryIO


def take_lock(path: Path, wait: bool = False, private: bool = False) -> BinaryIO:
    """Hold a lock file against other processes, until the file that is returned is closed.

    Args:
        path: the lock file; it is made if it is missing.
        wait: wait for another process to let go instead of refusing.
        private: nobody but its owner may ask whether it is held.

    Raises:
        BlockingIOError: another process holds it.
        OSError: there can be no such file.
    """
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600 if private else 0o666), "wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BaseException:
        file.close()
        raise
    return file


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock file at this moment."""
    try:
        with path.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
