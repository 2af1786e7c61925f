"""Verifying an archive on request: what is damaged or missing is named and left as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from facepipe.core.errors import FacepipeError
from facepipe.surveil.archive import Archive, read_part
from facepipe.surveil.delta_table import tables
from facepipe.surveil.volumes import read_volume


def steps(archive: Archive) -> int:
    """How many steps `audit` will advance by: the files of the archive's tables."""
    return sum(len(table.parts()) for table in tables(archive))


def audit(archive: Archive, advance: Callable[[int], None]) -> Iterator[str]:
    """Compare every table and volume with its CRC-32s, and look whether images and meshes are there.

    Call only while holding the archive's lock. A batch in work is left out: the next run verifies it.

    Args:
        archive: the archive.
        advance: told of each step.

    Returns:
        A sentence for each file that is damaged or missing.
    """
    for path in (path for table in tables(archive) for path in table.parts()):
        try:
            for rows in read_part(path):
                if "image_path" in rows.schema.names:
                    yield from _pixels(archive, rows)
        except FacepipeError as error:
            yield str(error)
        advance(1)


def _pixels(archive: Archive, rows: pa.RecordBatch) -> Iterator[str]:
    for name in rows["volume_path"].drop_null().to_pylist():
        try:
            read_volume(archive.path, name)
        except FacepipeError:
            yield f"{archive.path / name}: a volume that is damaged or missing"
    for column in ("image_path", "mesh_path"):
        for name in rows[column].drop_null().to_pylist():
            if not (archive.path / name).is_file():
                yield f"{archive.path / name}: is missing"
