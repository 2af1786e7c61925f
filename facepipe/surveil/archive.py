"""A surveillance archive on disk: its folders, its lock, and who may read it.

    ARCHIVE/archive.json      what this folder is
    ARCHIVE/faces.parquet/    a Delta table, by UTC capture date
    ARCHIVE/files.parquet/    what the inbox's files contained when they were last read; a Delta table, too
    ARCHIVE/stages.parquet/   how fast every run was; a Delta table, too
    ARCHIVE/pixels/           <day stored>/<batch>/: restored images, volumes, meshes
    ARCHIVE/batches/          work in progress

Workers read this module: what is in the tables is `delta_table`'s, which only the driver and queries load.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.core.errors import FacepipeError, RunConflictError, UsageError
from facepipe.core.files import make_private_folder, write_atomically
from facepipe.core.locks import is_locked, take_lock

ARCHIVE_FORMAT = 3

OLD_FORMAT = 2
"""Of archives whose tables are no Delta tables: archive.json names their files."""

RESTORE = "restore the whole archive from a copy, into an empty folder"
"""The way out where a log does not fit the files of its table."""


@dataclass(frozen=True)
class ArchiveFacts:
    """What archive.json says.

    Attributes:
        format: of the folder.
        created: when the archive was made, ISO 8601.
    """

    format: int
    created: str


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
        """The table of known files, partitioned by date."""
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

    def read_json(self) -> dict[str, Any]:
        """Read archive.json, of whichever format.

        Raises:
            UsageError: no archive, or archive.json is damaged.
        """
        try:
            said = json.loads(self.json_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.path}: no archive here (an archive holds archive.json); `facepipe surveil --out` "
                "makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.json_path}: cannot be read: {error}; {RESTORE}") from error
        if not isinstance(said, dict):
            raise UsageError(f"{self.json_path}: is damaged; {RESTORE}")
        return said

    def read_facts(self) -> ArchiveFacts:
        """Read archive.json.

        Raises:
            UsageError: no archive, or none that this version can read.
        """
        said = self.read_json()
        if said.get("format") == OLD_FORMAT:
            raise UsageError(
                f"{self.json_path}: an archive of format {OLD_FORMAT}; the next `facepipe surveil INBOX "
                f"--out {self.path}` makes Delta tables of it, once and in place"
            )
        if said.get("format") != ARCHIVE_FORMAT:
            raise UsageError(f"{self.json_path}: not an archive of format {ARCHIVE_FORMAT}")
        try:
            return ArchiveFacts(**said)
        except TypeError as error:
            raise UsageError(f"{self.json_path}: is damaged; {RESTORE}") from error

    def write_facts(self, facts: ArchiveFacts) -> None:
        """Replace archive.json; call while holding the lock."""
        write_atomically(self.json_path, json.dumps(asdict(facts), indent=1).encode(), private=True)

    def create(self) -> None:
        """Make the archive, if there is none; call while holding the lock.

        Raises:
            RunConflictError: the folder holds something else.
        """
        if not self.exists():
            # A process that died while it made the archive leaves the lock and half an archive.json.
            ours = re.compile(r"\.lock|\.archive\.json\..*\.tmp")
            if not all(ours.fullmatch(path.name) for path in self.path.iterdir()):
                raise RunConflictError(f"--out {self.path}: the folder is not empty and holds no archive")
            self.write_facts(ArchiveFacts(ARCHIVE_FORMAT, datetime.now(UTC).isoformat(timespec="seconds")))
        self.path.chmod(0o700)

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
            lock = take_lock(self.path / ".lock", wait, private=True)
        except BlockingIOError as error:
            raise RunConflictError(
                f"{self.path}: another process is working on this archive; --wait waits for it"
            ) from error
        except OSError as error:
            raise UsageError(f"--out {self.path}: no archive can be there: {error.strerror}") from error
        with lock:
            yield

    def is_in_use(self) -> bool:
        """Whether a process holds the archive at this moment."""
        return is_locked(self.path / ".lock")

    def pixels_folder(self, stored: datetime, number: int) -> Path:
        """Where the images, volumes and meshes of a batch lie."""
        return self.pixels_path / stored.date().isoformat() / f"{number:06d}"


def read_part(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a part in bounded memory.

    Raises:
        FacepipeError: the file is damaged.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            rows = 0
            for batch in file.iter_batches(columns=columns):
                rows += batch.num_rows
                yield batch
            if rows != file.metadata.num_rows:  # a column that claims to be shorter ends them all
                raise pa.ArrowInvalid(f"{rows} rows instead of {file.metadata.num_rows}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FacepipeError(
            f"{path}: not a readable Parquet file ({' '.join(str(error).split())}); restore it from a copy"
        ) from error


def delete_folder(path: Path) -> None:
    """Delete a folder and what is in it, if it is there.

    Raises:
        OSError: something in it could not be deleted.
    """
    if path.exists():
        shutil.rmtree(path)
