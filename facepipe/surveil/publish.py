"""From what units wrote to the archive's tables."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.surveil.archive import read_part
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.delta_table import TableChange, faces_table, files_table
from facepipe.surveil.look_stage import CHANGED
from facepipe.surveil.volumes import delete_pixels

PATHS = ("image_path", "volume_path", "mesh_path")


def publish(folder: BatchFolder) -> None:
    """Put a finished batch into the archive and delete its folder; done again, it changes nothing.

    The commit to faces is what counts: its rows appear, and those that they replace vanish, at once for every
    reader. The rows of `files` are committed before. A row of them counts if its content is in faces, so that
    those of a batch begin to count at that moment, too. Until then the batch's folder has all that is needed
    to do the rest. Rows of files that changed while they were read are left out, and the next run looks at
    them again.
    """
    archive = folder.archive
    faces = TableChange(faces_table(archive))
    if faces.batch < folder.number:
        changed = _shas(folder, pc.field("reason") == CHANGED)
        _put_files(TableChange(files_table(archive)), folder, changed)
        _put_faces(faces, folder, changed)
    delete_pixels(archive.path, folder.read_outdated())
    folder.delete()


def _put_files(change: TableChange, folder: BatchFolder, changed: set[str]) -> None:
    """Commit the files of a batch; where it replaces rows, they replace what was known of their paths."""
    if change.batch >= folder.number:
        return
    facts, looked = folder.read_facts(), folder.read_looked()
    if facts["replaces"]:
        paths = pc.unique(looked["path"])
        for part in change.parts():
            if any(pc.any(pc.is_in(rows["path"], paths)).as_py() for rows in read_part(part, ["path"])):
                change.rewrite(part, _without(part, "path", paths))
    known = looked.filter(pc.is_valid(looked["sha256"]))
    known = known.filter(pc.invert(pc.is_in(known["sha256"], pa.array(sorted(changed), pa.string()))))
    change.add([known], facts["stored"][:10])
    change.commit(folder.number)


def _put_faces(change: TableChange, folder: BatchFolder, changed: set[str]) -> None:
    """Commit the rows of a batch, and take those out that they replace."""
    outdated = [name for table in _rows(folder, ["sha256", *PATHS]) for name in _pixels_of(table, changed)]
    if folder.read_facts()["replaces"]:
        replaced = _shas(folder, None) - changed
        for part in change.parts():
            outdated += _remove_rows(change, part, replaced)
    for date in sorted(_dates(folder)):
        change.add(_rows_of_date(folder, date, changed), date)
    folder.write_outdated(outdated)
    change.commit(folder.number)


def _rows(folder: BatchFolder, columns: list[str] | None = None) -> Iterator[pa.Table]:
    for wave in range(folder.waves()):
        for rows in read_part(folder.rows_path(wave), columns):
            yield pa.Table.from_batches([rows])


def _dates(folder: BatchFolder) -> set[str]:
    found: set[str] = set()
    for table in _rows(folder, ["time"]):
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
    for table in _rows(folder, ["sha256", "reason"]):
        found |= set(pc.unique((table if which is None else table.filter(which))["sha256"]).to_pylist())
    return found


def _remove_rows(change: TableChange, part: Path, shas: set[str]) -> list[str]:
    """Take the rows of some inputs out of a file of the table; return the names of their pixels."""
    members = pa.array(sorted(shas), pa.string())
    if not any(pc.any(pc.is_in(rows["sha256"], members)).as_py() for rows in read_part(part, ["sha256"])):
        return []
    outdated = [
        name
        for rows in read_part(part, ["sha256", *PATHS])
        for name in _pixels_of(pa.Table.from_batches([rows]), shas)
    ]
    change.rewrite(part, _without(part, "sha256", members))
    return outdated


def _without(part: Path, column: str, values: pa.Array) -> Iterator[pa.Table]:
    """The rows of a file but for those that have one of some values in a column."""
    for rows in read_part(part):
        yield pa.Table.from_batches([rows.filter(pc.invert(pc.is_in(rows[column], values)))])


def _pixels_of(table: pa.Table, shas: set[str]) -> Iterator[str]:
    """The names of the images, volumes and meshes of some inputs, below the archive."""
    theirs = table.filter(pc.is_in(table["sha256"], pa.array(sorted(shas), pa.string())))
    for column in PATHS:
        yield from theirs[column].drop_null().to_pylist()
