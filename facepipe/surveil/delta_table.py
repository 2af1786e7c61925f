"""The tables of an archive: Delta tables, whose Parquet files facepipe writes itself.

The files are written here and not by `deltalake`, because its writer sets no page checksums, does not flush
to the disk and leaves modes to the umask. The log, and with it what a table consists of, is the library's.

    faces.parquet/_delta_log/     the log: a commit happens at once for every reader, or not at all
    faces.parquet/date=.../part-v<version>-<number>.parquet

A file's name has the version of the table that it was written for. What a process that died wrote without
committing it is thus told from the files of a log that is older than the tables, which are not touched.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyarrow import fs

from facepipe.core.errors import EnvironmentTroubleError, FacepipeError
from facepipe.core.files import make_private_folder
from facepipe.core.schema import FACES, FILES, STAGES
from facepipe.core.tables import write_tables
from facepipe.surveil.archive import RESTORE, Archive, read_part

DATE = "date"
"""The partition column of faces and files."""

CONFIGURATION = {
    "delta.checkpointInterval": "10",
    "delta.logRetentionDuration": "interval 1 days",
    "delta.deletedFileRetentionDuration": "interval 0 days",
}
"""Opening a table takes half a millisecond for each commit since the last checkpoint. Old versions cannot be
read once their files are deleted, so that their log is not kept for long either."""

_BATCH = "facepipe.batch"
"""The application under whose name the log says which batch was committed last."""

_PART = re.compile(r"part-(?:v(\d+)|\d+)-\d+\.parquet")
"""Files of a table; those without a `v` are older than the log."""

_HOOKS = PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=True)


@dataclass(frozen=True)
class ArchiveTable:
    """A table of an archive. It need not exist: then it has no rows, and the first commit makes it.

    Attributes:
        path: its folder.
        schema: the columns of its files.
        by_date: whether it is partitioned by the column `date`, which its folders add.
    """

    path: Path
    schema: pa.Schema
    by_date: bool = True

    @property
    def log_path(self) -> Path:
        """The folder of the log."""
        return self.path / "_delta_log"

    @property
    def full_schema(self) -> pa.Schema:
        """The columns of the table."""
        return self.schema.append(pa.field(DATE, pa.date32())) if self.by_date else self.schema

    def open(self) -> DeltaTable | None:
        """Open the newest version; None if there is no table.

        Raises:
            FacepipeError: the log is damaged.
        """
        if not self.log_path.is_dir():
            return None
        try:
            return DeltaTable(str(self.path.absolute()))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise FacepipeError(f"{self.log_path}: cannot be read ({_line(error)}); {RESTORE}") from error

    def version(self) -> int:
        """How many commits the table has seen since the first; -1 if there is no table."""
        table = self.open()
        return -1 if table is None else table.version()

    def batch(self) -> int:
        """The highest number of a batch that was committed, or given up; 0 if there was none."""
        return _batch(self.open())

    def parts(self) -> list[Path]:
        """The Parquet files that count, by name."""
        table = self.open()
        return [] if table is None else [self.path / name for name in _names(table)]

    def dataset(self) -> ds.Dataset | None:
        """The rows of the newest version, for DuckDB and pyarrow; None if there is no table."""
        table = self.open()
        if table is None:
            return None
        folder = fs.SubTreeFileSystem(str(self.path.absolute()), fs.LocalFileSystem())
        return table.to_pyarrow_dataset(filesystem=folder, schema=self.full_schema)

    def uncommitted(self) -> list[Path]:
        """The Parquet files that the newest version does not name.

        That is, those that a process which died did not commit, and those of older versions. By name, and not
        by their age as `DeltaTable.vacuum` does it: a clock may be wrong.

        Raises:
            FacepipeError: a file is missing, or one is newer than the log.
        """
        table = self.open()
        version, named = (-1, set()) if table is None else (table.version(), {*_names(table)})
        for name in sorted(named):  # by name: a listing may be older
            if not (self.path / name).is_file():
                raise FacepipeError(
                    f"{self.path / name}: is missing, the table names it; nothing was touched; {RESTORE}"
                )
        found = []
        for path in sorted(self.path.rglob("*.parquet")):
            part, name = _PART.fullmatch(path.name), path.relative_to(self.path).as_posix()
            if part is None or name in named:
                continue
            if int(part[1] or 0) > version + 1:
                raise FacepipeError(
                    f"{self.log_path}: is older than the table: it ends with version {version}, {name} is of "
                    f"version {part[1]}; nothing was touched; {RESTORE}"
                )
            found.append(path)
        return found

    def begin_run(self) -> None:
        """Commit that a run begins, so that none of its files has the version of what is left over."""
        table = self.open()
        if table is not None:
            self.commit(table, [], None)

    def tidy_log(self) -> None:
        """Delete what a commit that was interrupted left in the log, and make the log private."""
        for path in self.log_path.glob("*"):
            if "#" in path.name or path.name.endswith(".tmp"):
                path.unlink()
        self._make_log_private()

    def _make_log_private(self) -> None:
        for path in self.log_path.glob("*"):
            if path.stat().st_mode & 0o777 != 0o600:
                path.chmod(0o600)

    def commit(
        self, table: DeltaTable | None, actions: list[AddAction | RemoveAction], batch: int | None
    ) -> None:
        """Make a new version of the table; call while holding the lock.

        Args:
            table: the newest version, None if there is none.
            actions: the files that it adds and removes.
            batch: the number of a batch that is over with it.

        Raises:
            EnvironmentTroubleError: the log cannot be written.
        """
        over = [] if batch is None else [Transaction(_BATCH, batch)]
        said = CommitProperties(max_commit_retries=0, app_transactions=over)
        make_private_folder(self.log_path)
        schema, partitions = Schema.from_arrow(self.full_schema), [DATE] if self.by_date else []
        try:
            if table is None:
                create_table_with_add_actions(
                    str(self.path.absolute()),
                    schema,
                    [action for action in actions if isinstance(action, AddAction)],
                    partition_by=partitions,
                    configuration=CONFIGURATION,
                    commit_properties=said,
                    post_commithook_properties=_HOOKS,
                )
            else:
                table.create_write_transaction(
                    actions,
                    "append",
                    schema,
                    partitions,
                    commit_properties=said,
                    post_commithook_properties=_HOOKS,
                )
            self._make_log_private()
            version = 0 if table is None else table.version() + 1
            for path in (self.log_path / f"{version:020d}.json", self.log_path):
                _flush(path)
        except (DeltaError, OSError) as error:
            raise EnvironmentTroubleError(f"{self.log_path}: cannot be written: {_line(error)}") from error


class TableChange:
    """Files to add to a table and to take from it; `commit` makes it so, at once for every reader.

    Args:
        table: whose; the archive's lock must be held until the end.
    """

    def __init__(self, table: ArchiveTable) -> None:
        self._table = table
        self._opened = table.open()
        self._version = 0 if self._opened is None else self._opened.version() + 1
        self._added: dict[Path, int] = {}
        self._dropped: list[Path] = []
        self._new_rows = False

    @property
    def batch(self) -> int:
        """The highest number of a batch that is over."""
        return _batch(self._opened)

    def parts(self) -> list[Path]:
        """The Parquet files that count before the change, by name."""
        return [] if self._opened is None else [self._table.path / name for name in _names(self._opened)]

    def add(self, tables: Iterable[pa.Table], date: str | None = None) -> None:
        """Write rows as a new file; no file where there are none.

        Args:
            tables: the rows.
            date: the value of their partition, YYYY-MM-DD; None for a table without partitions.
        """
        self._new_rows = True
        self._write(self._table.path / f"{DATE}={date}" if date else self._table.path, tables)

    def keep(self, part: Path) -> None:
        """Add a file of the archive as it is."""
        self._new_rows = True
        self._added[part] = pq.read_metadata(part).num_rows

    def rewrite(self, part: Path, tables: Iterable[pa.Table]) -> None:
        """Put other rows in the place of those of a file."""
        self._new_rows = True
        self._dropped.append(part)
        self._write(part.parent, tables)

    def compact(self, small_rows: int) -> None:
        """Merge the newest files of each partition, as far back as they have fewer rows than that."""
        by_folder: dict[Path, list[Path]] = {}
        for part in self.parts():
            by_folder.setdefault(part.parent, []).append(part)
        for folder, parts in by_folder.items():
            tail: list[Path] = []
            for part in reversed(parts if len(parts) > 1 else []):
                if pq.read_metadata(part).num_rows >= small_rows:
                    break
                tail.insert(0, part)
            if len(tail) > 1:
                self._dropped += tail
                self._write(folder, _rows(tail))

    def commit(self, batch: int | None = None) -> None:
        """Make the change, and delete the files that it dropped: no older version can be read then.

        Args:
            batch: the number of a batch that is over: its rows are in the table, or never will be.
        """
        if self._added or self._dropped or batch:
            added = [self._add_action(path, rows) for path, rows in self._added.items()]
            dropped = map(self._remove_action, self._dropped)
            self._table.commit(self._opened, [*added, *dropped], batch)
        for path in self._dropped:
            path.unlink(missing_ok=True)

    def _write(self, folder: Path, tables: Iterable[pa.Table]) -> None:
        path = folder / f"part-v{self._version:08d}-{len(self._added):06d}.parquet"
        rows = write_tables(path, tables, self._table.schema, private=True)
        if rows:
            self._added[path] = rows
        else:
            path.unlink()

    def _add_action(self, path: Path, rows: int) -> AddAction:
        # The number of rows is the only statistic: the least and the greatest value of a column are values.
        said = json.dumps({"numRecords": rows})
        return AddAction(
            self._name(path), path.stat().st_size, self._values(path), _now_ms(), self._new_rows, said
        )

    def _remove_action(self, path: Path) -> RemoveAction:
        return RemoveAction(
            self._name(path), self._new_rows, _now_ms(), path.stat().st_size, self._values(path)
        )

    def _name(self, path: Path) -> str:
        return path.relative_to(self._table.path).as_posix()

    def _values(self, path: Path) -> dict[str, str | None]:
        return {DATE: path.parent.name.removeprefix(f"{DATE}=")} if self._table.by_date else {}


def faces_table(archive: Archive) -> ArchiveTable:
    """The table of faces, by UTC capture date."""
    return ArchiveTable(archive.faces_path, FACES)


def files_table(archive: Archive) -> ArchiveTable:
    """The table of known files, by the UTC date on which their batch began."""
    return ArchiveTable(archive.files_path, FILES)


def stages_table(archive: Archive) -> ArchiveTable:
    """The table of throughput."""
    return ArchiveTable(archive.stages_path, STAGES, by_date=False)


def tables(archive: Archive) -> tuple[ArchiveTable, ArchiveTable, ArchiveTable]:
    """All tables of an archive."""
    return faces_table(archive), files_table(archive), stages_table(archive)


def versions(archive: Archive) -> tuple[int, ...]:
    """The versions of an archive's tables: the same numbers, the same rows."""
    return tuple(table.version() for table in tables(archive))


def _batch(table: DeltaTable | None) -> int:
    return 0 if table is None else table.transaction_version(_BATCH) or 0


def _names(table: DeltaTable) -> list[str]:
    return sorted(pa.table(table.get_add_actions())["path"].to_pylist())


def _rows(parts: list[Path]) -> Iterator[pa.Table]:
    return (pa.Table.from_batches([batch]) for part in parts for batch in read_part(part))


def _now_ms() -> int:
    return round(time.time() * 1000)


def _line(error: Exception) -> str:
    """The first line of a message: the library adds a backtrace."""
    return str(error).strip().split("\n", maxsplit=1)[0]


def _flush(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
