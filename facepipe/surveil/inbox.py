"""The files of an inbox, one after the other."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.imaging.file_kinds import HEAD_BYTES
from facepipe.imaging.passed_over import HIDDEN, NOT_REGULAR, extension_of, why_not

# What is called so is looked at whatever it holds, other files if their content is of a kind that is
# read.
IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mkv")

_INT64_MAX = 2**63 - 1

MAX_DEPTH = 64
"""Folders within folders; deeper ones are not entered."""


@dataclass(frozen=True)
class InboxFile:
    """A file as it was listed.

    Attributes:
        path: below the inbox, in the bytes of the file system, `/` between folders.
        size_bytes, mtime_ns, inode: of the file.
    """

    path: bytes
    size_bytes: int
    mtime_ns: int
    inode: int

    @property
    def source(self) -> str:
        """The path as tables and messages show it: what is not UTF-8 is escaped."""
        return shown(self.path)

    @property
    def kind(self) -> str:
        """'image' or 'video', by its extension."""
        return "video" if _extension(self.path) in VIDEOS else "image"


@dataclass
class Listing:
    """What a walk through an inbox passed over.

    Attributes:
        unsettled: files that changed just now; the next run takes them.
        passed_over: files that are not looked at, by extension and reason.
        files: files listed.
    """

    unsettled: int = 0
    passed_over: Counter[tuple[str, str]] = field(default_factory=Counter)
    files: int = 0
    unreadable: list[str] = field(default_factory=list)

    @property
    def other(self) -> int:
        """Files that are not looked at."""
        return self.passed_over.total()


def shown(path: bytes) -> str:
    """A path of the file system as text that any table can hold."""
    return path.decode("utf-8", "backslashreplace")


def mtime_ns_of(facts: os.stat_result) -> int:
    """The time of modification, ns since 1970, within what 64 bits hold: anybody can set it to the year
    2300."""
    return max(-_INT64_MAX, min(facts.st_mtime_ns, _INT64_MAX))


def inode_of(facts: os.stat_result) -> int:
    """The inode, its 64 bits read as a signed number: no table has others."""
    return facts.st_ino - 2**64 if facts.st_ino > _INT64_MAX else facts.st_ino


def list_inbox(inbox: Path, settle_seconds: float, listing: Listing) -> Iterator[InboxFile]:
    """Walk through an inbox in the order of names, one folder in memory at a time.

    Links are not followed: a target in the inbox is listed where it lies, one outside is nobody's business
    here. Hidden files and folders are passed over: copying tools write under such names before they rename.

    Args:
        inbox: the folder.
        settle_seconds: files that changed within so many seconds are still being written, perhaps. By the
            time of change, since copying tools set that of modification to the original's.
        listing: counts what is passed over.

    Raises:
        UsageError: there is no such folder.
        EnvironmentTroubleError: it cannot be read.
    """
    if not inbox.is_dir():
        raise UsageError(f"inbox {inbox}: no such folder")
    try:
        names = _names(os.fsencode(inbox))
    except OSError as error:
        raise EnvironmentTroubleError(f"inbox {inbox}: cannot be read: {error.strerror}") from error
    yield from _walk(os.fsencode(inbox), b"", names, round(settle_seconds * 1e9), listing, 0)


def _walk(
    root: bytes, folder: bytes, names: list[bytes], settle_ns: int, listing: Listing, depth: int
) -> Iterator[InboxFile]:
    for name in names:
        path = folder + name
        try:
            facts = os.lstat(os.path.join(root, path))  # noqa: PTH118 - bytes
            if stat.S_ISDIR(facts.st_mode) and not name.startswith(b".") and depth < MAX_DEPTH:
                inner = _names(os.path.join(root, path))  # noqa: PTH118
                yield from _walk(root, path + b"/", inner, settle_ns, listing, depth + 1)
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            listing.unreadable.append(f"{shown(path)}: {error.strerror}")
            continue
        try:
            why = _why_not(root, path, facts)
        except OSError as error:
            listing.unreadable.append(f"{shown(path)}: {error.strerror}")
            continue
        if why is not None:
            listing.passed_over[extension_of(shown(name)), why] += 1
        elif abs(time.time_ns() - facts.st_ctime_ns) < settle_ns:
            listing.unsettled += 1
        else:
            listing.files += 1
            yield InboxFile(path, facts.st_size, mtime_ns_of(facts), inode_of(facts))


def _names(folder: bytes) -> list[bytes]:
    return sorted(os.listdir(folder))  # noqa: PTH208 - bytes


def _why_not(root: bytes, path: bytes, facts: os.stat_result) -> str | None:
    """Why a file is not looked at; None if it is."""
    name = path.rpartition(b"/")[2]
    if name.startswith(b"."):
        return HIDDEN
    if not stat.S_ISREG(facts.st_mode):
        return NOT_REGULAR
    if _extension(name) in (*IMAGES, *VIDEOS):
        return None
    file = os.open(os.path.join(root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # noqa: PTH118
    try:
        return why_not(os.read(file, HEAD_BYTES), with_videos=True)
    finally:
        os.close(file)


def _extension(name: bytes) -> str:
    return os.path.splitext(name)[1].lower().decode("ascii", "replace")  # noqa: PTH122 - bytes
