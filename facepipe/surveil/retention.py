"""Delete images, volumes and meshes past retention, and what older versions of the table say of them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from facepipe.surveil.archive import Archive, delete_folder, read_part
from facepipe.surveil.delta_table import TableChange, faces_table
from facepipe.surveil.publish import PATHS

logger = logging.getLogger("facepipe")


def expire(archive: Archive, retain_days: int, now: datetime) -> int:
    """Delete images, volumes and meshes that were stored that many days ago or earlier; their rows stay.

    What counts is when the archive stored them: the time of capture is what a file says, and a clock that
    was never set must not keep a face for ever. The files of the table that name them are deleted, too: no
    older version can be read afterwards.

    Args:
        archive: of which.
        retain_days: full days that pixels are kept.
        now: UTC.

    Returns:
        The number of days whose pixels were deleted. What a batch in work has written stays until it is done.
    """
    last = (now - timedelta(days=retain_days)).date()
    limit = pa.scalar(datetime(last.year, last.month, last.day), pa.timestamp("us"))
    change = TableChange(faces_table(archive))
    for part in change.parts():
        if any(_expired(rows, limit).true_count for rows in read_part(part, _EXPIRY)):
            change.rewrite(part, (_without_pixels(rows, limit) for rows in read_part(part)))
    change.commit()
    in_work = {path.name for path in archive.batches_path.glob("*")}
    tomorrow = (now + timedelta(days=1)).date().isoformat()
    ahead = [path.name for path in _day_folders(archive) if path.name > tomorrow]
    if ahead:
        logger.warning(
            "%s: images were stored on %s, which is yet to come: was the clock wrong? They are kept until %d "
            "days after it",
            archive.pixels_path,
            ", ".join(ahead[:3]),
            retain_days,
        )
    expired_days = 0
    for folder in (path for path in _day_folders(archive) if path.name < last.isoformat()):
        gone = [batch for batch in folder.iterdir() if batch.name not in in_work]
        for batch in gone:
            delete_folder(batch)
        expired_days += bool(gone)
        if not any(folder.iterdir()):
            folder.rmdir()
    return expired_days


_EXPIRY = ["stored", "image_path", "volume_path"]


def _day_folders(archive: Archive) -> list[Path]:
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
