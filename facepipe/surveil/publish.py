"""From what units wrote to the archive's table, and away with what is no longer to be kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.archive import (
    Archive,
    current_parts,
    delete_folder,
    merge_parts,
    part_path,
    read_part,
    write_part,
)
from facepipe.schema import FACES, FILES, STAGES
from facepipe.store import write_tables
from facepipe.surveil.faces import EXPORTED
from facepipe.surveil.folder import BatchFolder
from facepipe.surveil.job import SurveilJob
from facepipe.surveil.looking import CHANGED
from facepipe.surveil.plan import SurveilUnit

SMALL_ROWS = 1_000_000
"""Parts with fewer rows are merged with their neighbours at the end of a run."""

PATHS = ("image_path", "volume_path", "mesh_path")

_RESULTS = tuple(name for name in EXPORTED.names if name != "index")


def write_rows(job: SurveilJob, wave: int, shards: Iterable[int]) -> None:
    """Join what the units of a wave wrote to rows of the table: from then on the wave is done."""
    folder = job.folder
    tables = (_rows_of_shard(job, wave, shard) for shard in shards)
    write_tables(folder.rows_path(wave), tables, FACES, private=True)
    folder.delete_wave(wave)


def _rows_of_shard(job: SurveilJob, wave: int, shard: int) -> pa.Table:
    folder, rules = job.folder, job.rules
    exported: dict[int, dict[str, Any]] = {}
    for done_shard, block in folder.done("export", wave):
        if done_shard == shard:
            part = folder.read_part(SurveilUnit("export", wave, shard, block))
            exported |= {row["index"]: row for row in part.to_pylist()}
    regressor_key = rules.regressor_key()
    detected = folder.read_part(SurveilUnit("detect", wave, shard)).drop_columns(["crop", "crop_px"])
    rows = []
    for row in detected.to_pylist():
        row |= {"stored": job.stored, "frames_key": rules.frames_key(row["kind"]), "pixels_deleted": False}
        result = exported.get(row["index"])
        if result is not None:
            row |= {name: result[name] for name in _RESULTS}
            row["method_key"] = rules.method_key(result["low_px"])
            row["method"] = None if result["low_px"] is None else rules.method
            row |= {"regressor": rules.regressor, "regressor_key": regressor_key}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=FACES)


def publish(folder: BatchFolder) -> None:
    """Put a finished batch into the archive and delete its folder; done again, it changes nothing.

    Rows of files that changed while they were read are left out, and the next run looks at them again.
    """
    archive, number = folder.archive, folder.number
    changed = _shas(folder, pc.field("reason") == CHANGED)
    for date in sorted(_dates(folder)):
        target = part_path(archive.face_folder(date), number, number)
        write_part(target, _rows_of_date(folder, date, changed), FACES)
    if folder.read_facts()["replaces"]:
        replaced = _shas(folder, None) - changed
        for part in archive.face_parts():
            if part.last < number:
                _remove_rows(archive, part.path, replaced)
    known = folder.read_looked()
    kept = known.filter(pc.is_valid(known["sha256"]))
    kept = kept.filter(pc.invert(pc.is_in(kept["sha256"], pa.array(sorted(changed), pa.string()))))
    write_part(part_path(archive.files_path, number, number), [kept], FILES)
    folder.delete()


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


def _remove_rows(archive: Archive, path: Any, shas: set[str]) -> None:
    """Take the rows of some inputs out of a part, and delete their files."""
    members = pa.array(sorted(shas), pa.string())
    gone = [
        table.filter(pc.is_in(table["sha256"], members))
        for table in (pa.Table.from_batches([rows]) for rows in read_part(path))
    ]
    if not sum(table.num_rows for table in gone):
        return
    for name in (name for table in gone for column in PATHS for name in table[column].to_pylist()):
        if name:
            (archive.path / name).unlink(missing_ok=True)
    left = (
        table.filter(pc.invert(pc.is_in(table["sha256"], members)))
        for table in (pa.Table.from_batches([rows]) for rows in read_part(path))
    )
    if not write_part(path, left, FACES):
        path.unlink()


def expire(archive: Archive, retain_days: int, now: datetime) -> int:
    """Delete images, volumes and meshes that were stored that many days ago or earlier; their rows stay.

    What counts is when the archive stored them: the time of capture is what a file says, and a clock that
    was never set must not keep a face for ever.

    Args:
        archive: of which.
        retain_days: full days that pixels are kept.
        now: UTC.

    Returns:
        The number of days whose pixels were deleted. What a batch in work has written stays until it is done.
    """
    last = (now - timedelta(days=retain_days)).date()
    folders = [path for path in _day_folders(archive) if path.name < last.isoformat()]
    in_work = {path.name for path in archive.batches_path.glob("*")}
    for folder in folders:
        for batch in folder.iterdir():
            if batch.name not in in_work:
                delete_folder(batch)
        if not any(folder.iterdir()):
            folder.rmdir()
    limit = pa.scalar(datetime(last.year, last.month, last.day), pa.timestamp("us"))
    for part in archive.face_parts():
        if any(_expired(rows, limit).true_count for rows in read_part(part.path, _EXPIRY)):
            tables = (_without_pixels(rows, limit) for rows in read_part(part.path))
            write_part(part.path, tables, FACES)
    return len(folders)


_EXPIRY = ["stored", "image_path", "volume_path"]


def _day_folders(archive: Archive) -> list[Any]:
    return sorted(archive.pixels_path.iterdir()) if archive.pixels_path.is_dir() else []


def _expired(rows: pa.RecordBatch, limit: pa.Scalar) -> Any:
    has_pixels = pc.or_(pc.is_valid(rows["image_path"]), pc.is_valid(rows["volume_path"]))
    return pc.fill_null(pc.and_(pc.less(rows["stored"], limit), has_pixels), False)


def _without_pixels(rows: pa.RecordBatch, limit: pa.Scalar) -> pa.Table:
    table = pa.Table.from_batches([rows])
    expired = _expired(rows, limit)
    for name in PATHS:
        column = pc.if_else(expired, pa.scalar(None, pa.string()), rows[name])
        table = table.set_column(table.schema.get_field_index(name), name, column)
    deleted = pc.or_(rows["pixels_deleted"], expired)
    return table.set_column(table.schema.get_field_index("pixels_deleted"), "pixels_deleted", deleted)


def compact(archive: Archive) -> None:
    """Merge what many runs left in small parts."""
    for date in sorted({part.date for part in archive.face_parts()}):
        merge_parts(archive.face_folder(date), FACES, SMALL_ROWS)
    merge_parts(archive.files_path, FILES, SMALL_ROWS)
    merge_parts(archive.stages_path, STAGES, SMALL_ROWS)


def next_stage_number(archive: Archive) -> int:
    """The number of a run among those whose throughput is known."""
    return max((part.last for part in current_parts(archive.stages_path)), default=0) + 1
