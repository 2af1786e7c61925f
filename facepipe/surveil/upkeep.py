"""What a run does to an archive's tables before it begins and after it ends."""

from __future__ import annotations

import pyarrow as pa

from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import TableChange, stages_table, tables

SMALL_ROWS = 1_000_000
"""Files with fewer rows are merged with their neighbours at the end of a run."""


def sweep(archive: Archive) -> None:
    """Delete old versions of the tables and what processes that died left; call while holding the lock.

    Raises:
        FacepipeError: a log and its table are not of the same time; nothing was deleted.
    """
    archive.read_facts()
    left = [path for table in tables(archive) for path in table.uncommitted()]
    for path in left:
        path.unlink()
    for table in tables(archive):
        table.tidy_log()
    in_work = [path.name for path in archive.batches_path.glob("[0-9]*")]
    written = [path for name in in_work for path in archive.pixels_path.glob(f"*/{name}")]
    for folder in (
        archive.faces_path,
        archive.files_path,
        archive.stages_path,
        archive.batches_path,
        *written,
    ):
        for path in folder.rglob(".*.tmp"):
            path.unlink(missing_ok=True)
    for path in archive.path.glob(".*.tmp"):
        path.unlink(missing_ok=True)
    for table in tables(archive):
        table.begin_run()


def finish(archive: Archive, speeds: pa.Table) -> None:
    """Keep how fast a run was (rows of `STAGES`), and merge what many runs left in small files."""
    change = TableChange(stages_table(archive))
    change.add([speeds])
    change.commit()
    for table in tables(archive):
        compaction = TableChange(table)
        compaction.compact(SMALL_ROWS)
        compaction.commit()
