"""From what units wrote to the archive's tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.core.schema import FACES, FILES, STAGES
from facepipe.surveil.archive import Archive, read_part
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.look_stage import CHANGED
from facepipe.surveil.table_change import TableChange
from facepipe.surveil.volumes import delete_pixels

SMALL_ROWS = 1_000_000
"""Parts with fewer rows are merged with their neighbours at the end of a run."""

PATHS = ("image_path", "volume_path", "mesh_path")


def publish(folder: BatchFolder) -> None:
    """Put a finished batch into the archive and delete its folder; done again, it changes nothing.

    Its rows appear, and those that they replace vanish, at once for every reader. Rows of files that changed
    while they were read are left out, and the next run looks at them again.
    """
    archive = folder.archive
    if archive.read_facts().batch < folder.number:
        _put_into_tables(folder)
    delete_pixels(archive.path, folder.read_outdated())
    folder.delete()


def _put_into_tables(folder: BatchFolder) -> None:
    archive, change = folder.archive, TableChange(folder.archive)
    changed = _shas(folder, pc.field("reason") == CHANGED)
    outdated = [name for table in _rows(folder) for name in _pixels_of(table, changed)]
    if folder.read_facts()["replaces"]:
        replaced = _shas(folder, None) - changed
        for part in archive.parts(archive.faces_path):
            outdated += _remove_rows(change, part, replaced)
    for date in sorted(_dates(folder)):
        change.add(archive.face_folder(date), _rows_of_date(folder, date, changed), FACES)
    known = folder.read_looked()
    kept = known.filter(pc.is_valid(known["sha256"]))
    kept = kept.filter(pc.invert(pc.is_in(kept["sha256"], pa.array(sorted(changed), pa.string()))))
    change.add(archive.files_path, [kept], FILES)
    folder.write_outdated(outdated)
    change.commit(folder.number)


def _rows(folder: BatchFolder) -> Iterator[pa.Table]:
    for wave in range(folder.waves()):
        for rows in read_part(folder.rows_path(wave)):
            yield pa.Table.from_batches([rows])


def _dates(folder: BatchFolder) -> set[str]:
    found: set[str] = set()
    for table in _rows(folder):
        found |= {str(day) for day in pc.unique(pc.cast(table["time"], pa.date32())).to_pylist()}
    return found


def _rows_of_date(folder: BatchFolder, date: str, without: set[str]) -> Iterator[pa.Table]:
    day = pa.scalar(datetime.fromisoformat(date).date(), pa.date32())
    left_out = pa.array(sorted(without), pa.string())
    for table in _rows(folder):
        keep = pc.and_(
            pc.equal(pc.cast(table["time"], pa.date32()), day),
            pc.invert(pc.is_in(table["sha256"], left_out)),
        )
        yield table.filter(keep)


def _shas(folder: BatchFolder, which: pc.Expression | None) -> set[str]:
    found: set[str] = set()
    for table in _rows(folder):
        found |= set(pc.unique((table if which is None else table.filter(which))["sha256"]).to_pylist())
    return found


def _remove_rows(change: TableChange, part: Path, shas: set[str]) -> list[str]:
    """Take the rows of some inputs out of a file of the table; return the names of their pixels."""
    members = pa.array(sorted(shas), pa.string())

    def left() -> Iterator[pa.Table]:
        for rows in read_part(part):
            yield pa.Table.from_batches([rows.filter(pc.invert(pc.is_in(rows["sha256"], members)))])

    if not any(pc.any(pc.is_in(rows["sha256"], members)).as_py() for rows in read_part(part, ["sha256"])):
        return []
    outdated = [
        name
        for rows in read_part(part, ["sha256", *PATHS])
        for name in _pixels_of(pa.Table.from_batches([rows]), shas)
    ]
    change.rewrite(part, left(), FACES)
    return outdated


def _pixels_of(table: pa.Table, shas: set[str]) -> Iterator[str]:
    """The names of the images, volumes and meshes of some inputs, below the archive."""
    theirs = table.filter(pc.is_in(table["sha256"], pa.array(sorted(shas), pa.string())))
    for column in PATHS:
        yield from theirs[column].drop_null().to_pylist()


def finish(archive: Archive, speeds: pa.Table) -> None:
    """Merge what many runs left in small parts, and keep how fast this run was (rows of `STAGES`)."""
    change = TableChange(archive)
    by_date: dict[Path, list[Path]] = {}
    for part in archive.parts(archive.faces_path):
        by_date.setdefault(part.parent, []).append(part)
    for folder, parts in by_date.items():
        change.merge(folder, parts, FACES, SMALL_ROWS)
    change.merge(archive.files_path, archive.parts(archive.files_path), FILES, SMALL_ROWS)
    change.merge(archive.stages_path, archive.parts(archive.stages_path), STAGES, SMALL_ROWS)
    change.add(archive.stages_path, [speeds], STAGES)
    change.commit()
