"""A surveillance archive on disk: its folders and tables, its lock, and who may read it.

    ARCHIVE/archive.json      what this folder is
    ARCHIVE/faces.parquet/    date=YYYY-MM-DD/part-<first>-<last>.parquet, by UTC capture date
    ARCHIVE/files.parquet/    what the inbox's files contained when they were last read
    ARCHIVE/stages.parquet/   how fast every run was
    ARCHIVE/pixels/           <day stored>/<batch>/: restored images, volumes, meshes
    ARCHIVE/batches/          work in progress

A part bears the numbers of the first and the last batch whose rows it holds. Merging writes one part of a
wider range and then deletes those within it, so that of nested ranges only the widest counts: a process
that dies in between leaves nothing to repair.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.errors import FacepipeError, RunConflictError, UsageError
from facepipe.store import make_private_folder, write_atomically, write_tables

ARCHIVE_FORMAT = 1

PARTITION = "date="

_PART = re.compile(r"part-(\d{6,})-(\d{6,})\.parquet")


@dataclass(frozen=True, order=True)
class Part:
    """A Parquet file of a table that grows.

    Attributes:
        first, last: numbers of the batches whose rows it holds, and of all between them.
        path: the file.
    """

    first: int
    last: int
    path: Path

    def holds(self, other: Part) -> bool:
        """Whether every row of another part of the same folder is in this one, too."""
        return self.first <= other.first and other.last <= self.last

    @property
    def date(self) -> str:
        """The value of its partition, YYYY-MM-DD, for a part of the faces."""
        return self.path.parent.name.removeprefix(PARTITION)


@dataclass(frozen=True)
class Archive:
    """The folder of one archive."""

    path: Path

    @property
    def json_path(self) -> Path:
        """What makes a folder an archive."""
        return self.path / "archive.json"

    @property
    def faces_path(self) -> Path:
        """The table of faces, partitioned by date."""
        return self.path / "faces.parquet"

    @property
    def files_path(self) -> Path:
        """The table of known files."""
        return self.path / "files.parquet"

    @property
    def stages_path(self) -> Path:
        """The table of throughput."""
        return self.path / "stages.parquet"

    @property
    def pixels_path(self) -> Path:
        """Everything that shows a face."""
        return self.path / "pixels"

    @property
    def batches_path(self) -> Path:
        """Work in progress."""
        return self.path / "batches"

    def exists(self) -> bool:
        """Whether this folder is an archive."""
        return self.json_path.is_file()

    def check(self) -> None:
        """Refuse what is no archive that this version can read.

        Raises:
            UsageError: it is not.
        """
        try:
            facts = json.loads(self.json_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.path}: no archive here (an archive holds archive.json); `facepipe surveil --out` "
                "makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.json_path}: cannot be read: {error}") from error
        if not isinstance(facts, dict) or facts.get("format") != ARCHIVE_FORMAT:
            raise UsageError(f"{self.json_path}: not an archive of format {ARCHIVE_FORMAT}")

    def create(self) -> None:
        """Make the archive, or find it; call while holding the lock.

        Raises:
            RunConflictError: the folder holds something else.
            UsageError: an archive of another format.
        """
        if not self.exists():
            if any(path.name != ".lock" for path in self.path.iterdir()):
                raise RunConflictError(f"--out {self.path}: the folder is not empty and holds no archive")
            facts = {"format": ARCHIVE_FORMAT, "created": datetime.now(UTC).isoformat(timespec="seconds")}
            write_atomically(self.json_path, json.dumps(facts, indent=2).encode(), private=True)
        self.check()

    @contextmanager
    def lock(self, wait: bool = False) -> Iterator[None]:
        """Hold the archive against other processes; the kernel lets go of it however this one ends.

        Args:
            wait: wait for another process to finish instead of refusing.

        Raises:
            RunConflictError: another process works on this archive.
            UsageError: there can be no such folder.
        """
        try:
            make_private_folder(self.path)
            self.path.chmod(0o700)
            file = os.fdopen(os.open(self.path / ".lock", os.O_WRONLY | os.O_CREAT, 0o600), "w")
        except OSError as error:
            raise UsageError(f"--out {self.path}: no archive can be there: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as error:
                raise RunConflictError(
                    f"{self.path}: another process is working on this archive; --wait waits for it"
                ) from error
            yield

    # -- tables that grow -------------------------------------------------------------------------

    def face_parts(self) -> list[Part]:
        """The parts of the faces that count, by date, then by number."""
        if not self.faces_path.is_dir():
            return []
        folders = sorted(self.faces_path.glob(f"{PARTITION}*"))
        return [part for folder in folders for part in current_parts(folder)]

    def face_folder(self, date: str) -> Path:
        """Where the faces of a date (YYYY-MM-DD) lie."""
        return self.faces_path / f"{PARTITION}{date}"

    def next_number(self) -> int:
        """A number that no batch had before."""
        numbers = [part.last for part in (*self.face_parts(), *current_parts(self.files_path))]
        if self.batches_path.is_dir():
            numbers += [int(path.name) for path in self.batches_path.iterdir() if path.name.isdigit()]
        return max(numbers, default=0) + 1

    def pixels_folder(self, stored: datetime, number: int) -> Path:
        """Where the images, volumes and meshes of a batch lie."""
        return self.pixels_path / stored.date().isoformat() / f"{number:06d}"

    def sweep(self) -> None:
        """Delete what processes that died left behind; call while holding the lock."""
        for folder in (*self.faces_path.glob(f"{PARTITION}*"), self.files_path, self.stages_path):
            current = set(current_parts(folder))
            for part in set(_parts(folder)) - current:
                part.path.unlink()
        for path in self.path.rglob(".*.tmp"):
            path.unlink(missing_ok=True)


def part_path(folder: Path, first: int, last: int) -> Path:
    """The file of the rows of the batches from one number to another."""
    return folder / f"part-{first:06d}-{last:06d}.parquet"


def current_parts(folder: Path) -> list[Part]:
    """The parts in a folder that are not within another one, by number."""
    current: list[Part] = []
    # Widest first among those that begin alike: whatever lies within an earlier one is superseded.
    for part in sorted(_parts(folder), key=lambda part: (part.first, -part.last)):
        if not current or not current[-1].holds(part):
            current.append(part)
    return current


def read_part(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a part in bounded memory.

    Raises:
        FacepipeError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise FacepipeError(
            f"{path}: not a readable Parquet file ({' '.join(str(error).split())}); restore it from a copy"
        ) from error


def write_part(path: Path, tables: Iterable[pa.Table], schema: pa.Schema) -> int:
    """Write a part atomically, readable by its owner only; return the number of its rows."""
    return write_tables(path, tables, schema, private=True)


def merge_parts(folder: Path, schema: pa.Schema, small_rows: int) -> None:
    """Merge the newest parts of a folder into one, as far back as they have fewer rows than that."""
    parts = current_parts(folder)
    tail: list[Part] = []
    for part in reversed(parts):
        if pq.read_metadata(part.path).num_rows >= small_rows:
            break
        tail.insert(0, part)
    if len(tail) < 2:
        return
    tables = (pa.Table.from_batches([rows]) for part in tail for rows in read_part(part.path))
    write_part(part_path(folder, tail[0].first, tail[-1].last), tables, schema)
    for part in tail:
        part.path.unlink()


def delete_folder(path: Path) -> None:
    """Delete a folder and what is in it, if it is there.

    Raises:
        OSError: something in it could not be deleted.
    """
    if path.exists():
        shutil.rmtree(path)


def _parts(folder: Path) -> list[Part]:
    if not folder.is_dir():
        return []
    found: list[Any] = [(_PART.fullmatch(path.name), path) for path in folder.iterdir()]
    return sorted(Part(int(match[1]), int(match[2]), path) for match, path in found if match)
