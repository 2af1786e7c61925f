"""The archives of surveillance in a folder, and their tables."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from facepipe.core.errors import UsageError
from facepipe.core.schema import FACES, STAGES
from facepipe.surveil.archive import Archive

_log = logging.getLogger(__name__)

_NOWHERE = pa.schema([("archive", pa.string()), *FACES, ("date", pa.date32())])
_NEVER = pa.schema([("archive", pa.string()), *STAGES])


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


def changes_of(archives: list[Archive]) -> list[int]:
    """How many changes the tables of archives have seen: the same numbers, the same rows."""
    return [archive.read_facts().change for archive in archives]


def register_archives(connection: duckdb.DuckDBPyConnection, archives: list[Archive]) -> None:
    """Make the views `faces` and `stages`, whose files are read when they are asked for, not before."""
    faces, stages = ["SELECT * FROM _no_faces"], ["SELECT * FROM _no_stages"]
    connection.register("_no_faces", _NOWHERE.empty_table())
    connection.register("_no_stages", _NEVER.empty_table())
    for number, archive in enumerate(archives):
        folder = "'" + str(archive.path).replace("'", "''") + "'"
        for name, data, selects in (("faces", _faces(archive), faces), ("stages", _stages(archive), stages)):
            if data is not None:
                connection.register(f"_{name}_{number}", data)
                selects.append(f"SELECT {folder} AS archive, * FROM _{name}_{number}")
    connection.execute(f"CREATE VIEW faces AS {' UNION ALL BY NAME '.join(faces)}")
    connection.execute(f"CREATE VIEW stages AS {' UNION ALL BY NAME '.join(stages)}")


def _faces(archive: Archive) -> ds.Dataset | None:
    files = [str(path) for path in archive.parts(archive.faces_path)]
    schema = pa.schema([*FACES, ("date", pa.date32())])
    partitioning = ds.partitioning(pa.schema([("date", pa.date32())]), flavor="hive")
    base = str(archive.faces_path)
    return (
        ds.dataset(files, schema, format="parquet", partitioning=partitioning, partition_base_dir=base)
        if files
        else None
    )


def _stages(archive: Archive) -> ds.Dataset | None:
    files = [str(path) for path in archive.parts(archive.stages_path)]
    return ds.dataset(files, STAGES, format="parquet") if files else None
