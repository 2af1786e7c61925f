"""A surveillance archive on disk: its folders and tables, its lock, and who may read it.

    ARCHIVE/archive.json      what this folder is, and which Parquet files its tables consist of
    ARCHIVE/faces.parquet/    date=YYYY-MM-DD/part-<change>-<number>.parquet, by UTC capture date
    ARCHIVE/files.parquet/    what the inbox's files contained when they were last read
    ARCHIVE/stages.parquet/   how fast every run was
    ARCHIVE/pixels/           <day stored>/<batch>/: restored images, volumes, meshes
    ARCHIVE/batches/          work in progress

Files of tables are never written twice. A change of the tables writes new ones and then replaces
archive.json, so that it happens at once for every reader; what a process that dies before leaves counts for
nothing and is swept away by the next run. A run that begins counts as a change, too: so no file of a run that
a copy of archive.json does not know has the number of what is left over, and none is swept away for it.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.core.errors import FacepipeError, RunConflictError, UsageError
from facepipe.core.files import make_private_folder, write_atomically
from facepipe.core.locks import is_locked, take_lock

ARCHIVE_FORMAT = 2

PARTITION = "date="

RESTORE = "restore the whole archive from a copy, into an empty folder"
"""The way out where archive.json does not fit the tables; it belongs to the files that it names."""

_PART = re.compile(r"part-(\d+)-\d+\.parquet")


@dataclass(frozen=True)
class ArchiveFacts:
    """What archive.json says.

    Attributes:
        format: of the folder.
        created: when the archive was made, ISO 8601.
        change: how many changes its tables have seen, and how many runs.
        batch: the highest number of a batch that is over.
        parts: the Parquet files that count, below the archive, `/` between folders.
    """

    format: int
    created: str
    change: int = 0
    batch: int = 0
    parts: tuple[str, ...] = ()


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

    def read_facts(self) -> ArchiveFacts:
        """Read archive.json.

        Raises:
            UsageError: no archive, or none that this version can read.
        """
        try:
            facts = json.loads(self.json_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                f"{self.path}: no archive here (an archive holds archive.json); `facepipe surveil --out` "
                "makes one"
            ) from error
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.json_path}: cannot be read: {error}; {RESTORE}") from error
        if not isinstance(facts, dict) or facts.get("format") != ARCHIVE_FORMAT:
            raise UsageError(f"{self.json_path}: not an archive of format {ARCHIVE_FORMAT}")
        try:
            return replace(ArchiveFacts(**facts), parts=tuple(facts["parts"]))
        except (TypeError, KeyError) as error:
            raise UsageError(f"{self.json_path}: is damaged; {RESTORE}") from error

    def write_facts(self, facts: ArchiveFacts) -> None:
        """Replace archive.json; call while holding the lock."""
        write_atomically(self.json_path, json.dumps(asdict(facts), indent=1).encode(), private=True)

    def create(self) -> None:
        """Make the archive, or find it; call while holding the lock.

        Raises:
            RunConflictError: the folder holds something else.
            UsageError: an archive of another format.
        """
        if not self.exists():
            # A process that died while it made the archive leaves the lock and half an archive.json.
            ours = re.compile(r"\.lock|\.archive\.json\..*\.tmp")
            if not all(ours.fullmatch(path.name) for path in self.path.iterdir()):
                raise RunConflictError(f"--out {self.path}: the folder is not empty and holds no archive")
            self.write_facts(ArchiveFacts(ARCHIVE_FORMAT, datetime.now(UTC).isoformat(timespec="seconds")))
        self.read_facts()
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

    def parts(self, table: Path, facts: ArchiveFacts | None = None) -> list[Path]:
        """The files of a table (`faces_path`, `files_path` or `stages_path`) that count, in their order.

        Args:
            table: which one.
            facts: what archive.json said, where several tables must be of one time.
        """
        below = table.name + "/"
        return [self.path / name for name in (facts or self.read_facts()).parts if name.startswith(below)]

    def face_folder(self, date: str) -> Path:
        """Where the faces of a date (YYYY-MM-DD) lie."""
        return self.faces_path / f"{PARTITION}{date}"

    def next_number(self) -> int:
        """A number that no batch had before."""
        names = [path.name for path in self.batches_path.iterdir()] if self.batches_path.is_dir() else []
        return max([self.read_facts().batch, *(int(name) for name in names if name.isdigit())]) + 1

    def pixels_folder(self, stored: datetime, number: int) -> Path:
        """Where the images, volumes and meshes of a batch lie."""
        return self.pixels_path / stored.date().isoformat() / f"{number:06d}"

    def sweep(self) -> None:
        """Delete what processes that died left behind; call while holding the lock.

        Raises:
            FacepipeError: archive.json and the tables are not of the same time; nothing was deleted.
        """
        for path in self._uncounted():
            path.unlink()
        in_work = [path.name for path in self.batches_path.glob("[0-9]*")]
        written = [path for name in in_work for path in self.pixels_path.glob(f"*/{name}")]
        for folder in (self.faces_path, self.files_path, self.stages_path, self.batches_path, *written):
            for path in folder.rglob(".*.tmp"):
                path.unlink(missing_ok=True)
        for path in self.path.glob(".*.tmp"):
            path.unlink(missing_ok=True)
        facts = self.read_facts()
        self.write_facts(replace(facts, change=facts.change + 1))

    def _uncounted(self) -> list[Path]:
        """The files of tables that archive.json does not name, which a process that died may have left.

        That is, those of the change that it did not finish, and those that the changes before had dropped.

        Raises:
            FacepipeError: a file is missing, or one is newer than archive.json.
        """
        facts = self.read_facts()
        for name in facts.parts:  # by name: a listing may be older
            if not (self.path / name).is_file():
                raise FacepipeError(
                    f"{self.path / name}: is missing, archive.json names it; nothing was touched; {RESTORE}"
                )
        uncounted, named = [], set(facts.parts)
        for table in (self.faces_path, self.files_path, self.stages_path):
            for path in table.rglob("*.parquet"):
                name, part = path.relative_to(self.path).as_posix(), _PART.fullmatch(path.name)
                if part is None or name in named:
                    continue
                if int(part[1]) > facts.change + 1:
                    raise FacepipeError(
                        f"{self.json_path}: is older than the tables: it says change {facts.change}, {name} "
                        f"is of change {int(part[1])}; nothing was touched; {RESTORE}"
                    )
                uncounted.append(path)
        return uncounted


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
