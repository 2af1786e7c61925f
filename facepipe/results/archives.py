"""The archives of surveillance in a folder, and their tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from facepipe.core.errors import UsageError
from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import faces_table, files_table, stages_table, versions

_log = logging.getLogger(__name__)


def find_archives(path: Path, folders: Sequence[Path]) -> list[Archive]:
    """The archive in a folder, or the archives in its subfolders, sorted by name; there may be none.

    An archive in a subfolder that cannot be read, or is of another format, is left out with a warning.

    Args:
        path: the folder.
        folders: its subfolders that can be read.

    Raises:
        UsageError: the folder is an archive that cannot be read, or of another format.
    """
    if Archive(path).exists():
        Archive(path).read_facts()
        return [Archive(path)]
    found = []
    for archive in map(Archive, folders):
        if archive.exists():
            try:
                archive.read_facts()
            except UsageError as error:
                _log.warning("left out: %s", error)
            else:
                found.append(archive)
    return found


def versions_of(archives: list[Archive]) -> list[tuple[int, ...]]:
    """The versions of the tables of archives: the same numbers, the same rows."""
    return [versions(archive) for archive in archives]


def register_archives(connection: duckdb.DuckDBPyConnection, archives: list[Archive]) -> None:
    """Make the views `faces`, `files` and `stages`, whose files are read when they are asked for, not before.

    A row of `files` counts if its content is in faces: so both show the same batches. Faces are opened first,
    since a batch is committed to files first.
    """
    for name, table_of in (("faces", faces_table), ("files", files_table), ("stages", stages_table)):
        columns = pa.schema([("archive", pa.string()), *table_of(Archive(Path())).full_schema])
        connection.register(f"_no_{name}", columns.empty_table())
        selects = [f"SELECT * FROM _no_{name}"]
        for number, archive in enumerate(archives):
            data = table_of(archive).dataset()
            if data is not None:
                connection.register(f"_{name}_{number}", data)
                folder = "'" + str(archive.path).replace("'", "''") + "'"
                counted = f"(SELECT sha256 FROM faces WHERE archive = {folder})"
                counts = f"WHERE sha256 IN {counted}" if name == "files" else ""
                selects.append(f"SELECT {folder} AS archive, * FROM _{name}_{number} {counts}")
        connection.execute(f"CREATE VIEW {name} AS {' UNION ALL BY NAME '.join(selects)}")
