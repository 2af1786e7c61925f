"""Archives of the format before Delta Lake become Delta tables: once, in place, and interruptible.

archive.json of that format names the Parquet files that count. The files of faces and of stages stay as they
are and get a log; those of `files` are written again, with a date and signed inodes. Until all three logs are
there, archive.json says what it said, and whatever a conversion that was killed left is made again: an older
facepipe may have gone on with the archive meanwhile.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.schema import FILES
from facepipe.surveil.archive import (
    ARCHIVE_FORMAT,
    OLD_FORMAT,
    RESTORE,
    Archive,
    ArchiveFacts,
    delete_folder,
    read_part,
)
from facepipe.surveil.delta_table import ArchiveTable, TableChange, faces_table, files_table, stages_table

logger = logging.getLogger("facepipe")

_OLD_PART = re.compile(r"part-(\d+)-\d+\.parquet")


def convert(archive: Archive) -> None:
    """Make Delta tables of an archive of the old format, if it is one; call while holding its lock.

    Raises:
        UsageError: archive.json is damaged.
        FacepipeError: archive.json does not fit the tables; nothing was touched.
    """
    said = archive.read_json()
    if said.get("format") != OLD_FORMAT:
        return
    logger.info("%s: an archive of format %d: making Delta tables of it", archive.path, OLD_FORMAT)
    parts = _parts(archive, said)
    _check(archive, said, parts)
    # Faces last: their log says which batches are over, and counts.
    converted = stages_table(archive), files_table(archive), faces_table(archive)
    if any(table.version() > 0 for table in converted):
        raise FacepipeError(f"{archive.json_path}: is older than the tables; nothing was touched; {RESTORE}")
    for table in converted:
        delete_folder(table.log_path)
        _give_log(table, [path for path in parts if path.is_relative_to(table.path)], int(said["batch"]))
    archive.write_facts(ArchiveFacts(ARCHIVE_FORMAT, str(said["created"])))


def _parts(archive: Archive, said: dict[str, Any]) -> list[Path]:
    try:
        int(said["batch"]), int(said["change"]), str(said["created"])
        return [archive.path / str(name) for name in said["parts"]]
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{archive.json_path}: is damaged; {RESTORE}") from error


def _check(archive: Archive, said: dict[str, Any], parts: list[Path]) -> None:
    """Refuse an archive.json that is of another time than the files beside it.

    Raises:
        FacepipeError: it is.
    """
    for path in parts:
        if not path.is_file():
            raise FacepipeError(f"{path}: is missing, archive.json names it; nothing was touched; {RESTORE}")
    for folder in (archive.faces_path, archive.files_path, archive.stages_path):
        for path in folder.rglob("part-*.parquet"):
            part = _OLD_PART.fullmatch(path.name)
            if part and path not in parts and int(part[1]) > int(said["change"]) + 1:
                raise FacepipeError(
                    f"{archive.json_path}: is older than the tables: it says change {said['change']}, {path} "
                    f"is of change {int(part[1])}; nothing was touched; {RESTORE}"
                )


def _give_log(table: ArchiveTable, parts: list[Path], batch: int) -> None:
    change = TableChange(table)
    for part in parts:
        if table.schema == FILES:
            day = datetime.fromtimestamp(part.stat().st_mtime, UTC).date()
            change.add(_signed(part), str(day))
        else:
            change.keep(part)
    if parts or batch:
        change.commit(batch)


def _signed(part: Path) -> Iterator[pa.Table]:
    for rows in read_part(part):
        inodes = pc.cast(rows["inode"], pa.int64(), safe=False)
        table = pa.Table.from_batches([rows])
        yield table.set_column(table.schema.get_field_index("inode"), "inode", inodes)
