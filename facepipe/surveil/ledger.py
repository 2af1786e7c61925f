"""What an archive has done already, read from its tables: nothing else is kept of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.pipeline.executor import TIMED_OUT, WORKER_DIED
from facepipe.surveil.archive import Archive, read_part
from facepipe.surveil.delta_table import faces_table, files_table
from facepipe.surveil.digest_set import DigestSet
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.quarantine import UNEXPECTED
from facepipe.surveil.rules import Rules

MAYBE_NOT_ITS_FAULT = ("needs-package", WORKER_DIED, TIMED_OUT, UNEXPECTED)
"""Reasons that may be the machine's or this program's: another day, the same input may pass."""

_KEYS = ["sha256", "kind", "frames_key", "method_key", "regressor_key"]


class Ledger:
    """Which contents are in the table, and which files are known to have such a content.

    Args:
        archive: of which.
        rules: with them, contents count as done only if other rules would not change their rows; without,
            all that are in the table do.
        retry_failed: contents that failed, though perhaps not by their own fault, do not count either.
    """

    def __init__(self, archive: Archive, rules: Rules | None, retry_failed: bool = False) -> None:
        stale = _stale(archive, rules) if rules else set()
        stale |= _failed(archive) if retry_failed else set()
        self._done = DigestSet(_contents(archive, stale))
        self._files = DigestSet(self._known_files(archive))
        self._added: set[bytes] = set()

    def _known_files(self, archive: Archive) -> Iterator[bytes]:
        for part in files_table(archive).parts():
            for rows in read_part(part):
                for row in rows.to_pylist():
                    if self.is_done(row["sha256"]):
                        yield file_key(
                            InboxFile(row["path"], row["size_bytes"], row["mtime_ns"], row["inode"])
                        )

    def is_done(self, sha256: str) -> bool:
        """Whether a content needs nothing more."""
        return bytes.fromhex(sha256) in self._done

    def is_known(self, file: InboxFile) -> bool:
        """Whether a file is as it was when its content was read, and that content needs nothing more."""
        return file_key(file) in self._files

    def is_of_this_run(self, file: InboxFile) -> bool:
        """Whether a file was counted as done since the ledger was opened."""
        return file_key(file) in self._added

    def add(self, file: InboxFile, sha256: str) -> None:
        """Count a file's content as done."""
        self._done.add(bytes.fromhex(sha256))
        self._files.add(file_key(file))
        self._added.add(file_key(file))


def file_key(file: InboxFile) -> bytes:
    """A digest of path, size, time of modification and inode."""
    facts = f"{file.size_bytes} {file.mtime_ns} {file.inode} ".encode()
    return hashlib.blake2b(facts + file.path, digest_size=16).digest()


def _contents(archive: Archive, without: set[str]) -> Iterator[bytes]:
    for part in faces_table(archive).parts():
        for rows in read_part(part, ["sha256"]):
            yield from (
                bytes.fromhex(sha256)
                for sha256 in pc.unique(rows["sha256"]).to_pylist()
                if sha256 not in without
            )


def _stale(archive: Archive, rules: Rules) -> set[str]:
    """The contents with a row that these rules would make otherwise."""
    methods = pa.array(rules.method_keys(), pa.string())
    regressor_key = rules.regressor_key()
    found: set[str] = set()
    for part in faces_table(archive).parts():
        for rows in read_part(part, _KEYS):
            wanted = pc.if_else(
                pc.equal(rows["kind"], "video"), rules.frames_key("video"), rules.frames_key("image")
            )
            other_frames = pc.not_equal(rows["frames_key"], wanted)
            other_method = pc.and_(
                pc.is_valid(rows["method_key"]), pc.invert(pc.is_in(rows["method_key"], methods))
            )
            other_regressor = pc.fill_null(pc.not_equal(rows["regressor_key"], regressor_key), False)
            stale = pc.or_(pc.or_(other_frames, other_method), other_regressor)
            found |= set(pc.unique(rows["sha256"].filter(stale)).to_pylist())
    return found


def _failed(archive: Archive) -> set[str]:
    """The contents with a row whose reason may not be their fault."""
    reasons = pa.array(MAYBE_NOT_ITS_FAULT, pa.string())
    found: set[str] = set()
    for part in faces_table(archive).parts():
        for rows in read_part(part, ["sha256", "reason"]):
            found |= set(pc.unique(rows["sha256"].filter(pc.is_in(rows["reason"], reasons))).to_pylist())
    return found
