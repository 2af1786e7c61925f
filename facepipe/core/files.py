"""Files that are there whole or not at all: written under a temporary name, synced and renamed."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_atomically(path: Path, data: bytes, private: bool = False) -> None:
    """Write a file under a temporary name, sync it and rename it.

    Args:
        path: the file; missing folders are made.
        data: its bytes.
        private: nobody but its owner may read it, or enter the folders made for it.
    """
    with replacing(path, private) as temporary, opened(temporary, private) as file:
        file.write(data)
        sync(file)


@contextmanager
def replacing(path: Path, private: bool = False) -> Iterator[Path]:
    """Give the temporary name under which a file is to be written, and rename what was written there.

    What was written lasts once the context is left without an exception, if the file was synced; else
    nothing of it stays.

    Args:
        path: the file; missing folders are made.
        private: nobody but its owner may enter the folders made for it.
    """
    if private:
        make_private_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    # Machines that share the folder, and containers, have processes of the same number.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def opened(path: Path, private: bool) -> BinaryIO:
    """Open a file to write it anew, readable by its owner only where it is private."""
    mode = 0o600 if private else 0o666
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb")


def sync(file: BinaryIO) -> None:
    """Have the disk hold what was written into a file."""
    file.flush()
    os.fsync(file.fileno())


def make_private_folder(path: Path) -> None:
    """Make a folder, and those missing above it, that nobody but its owner may enter."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)


def file_digest(path: Path) -> str | None:
    """The sha256 hex digest of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
