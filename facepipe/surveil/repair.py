"""What an interrupted run left of a batch counts only if it is whole: what is not, is made again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from facepipe.core.errors import FacepipeError
from facepipe.core.schema import FACES
from facepipe.surveil.archive import read_part
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.detect_stage import DETECTED
from facepipe.surveil.face_stages import EXPORTED, REGRESSED, RESTORED, Places
from facepipe.surveil.look_stage import LOOKED
from facepipe.surveil.spec import ITEMS, LISTED
from facepipe.surveil.volume_file import read_volume

logger = logging.getLogger("facepipe")

_PARTS = {
    "look": LOOKED,
    "detect": DETECTED,
    "restore": RESTORED,
    "regress": REGRESSED,
    "export": EXPORTED,
}


def mend(folder: BatchFolder, places: Places) -> None:
    """Delete the tables of a batch that are damaged, and those that vouch for a volume that is.

    Whatever is missing then is made again from what it was made of; where that is the inbox, which may have
    changed, what was made from it goes, too. Images and meshes have no checksum.
    """
    for path, schema in _tables(folder):
        if not path.exists():
            continue
        try:
            _check(path, schema, places)
        except FacepipeError:
            logger.warning("%s is made again: it, or a volume that it vouches for, is damaged", path)
            path.unlink()
            if schema is DETECTED:
                shard = path.stem.rpartition("-")[0]
                for later in path.parent.parent.glob(f"*/{shard}-*.parquet"):
                    later.unlink()
    if not folder.items_path.exists():
        folder.delete_waves()


def _tables(folder: BatchFolder) -> Iterator[tuple[Path, pa.Schema]]:
    """The tables of a batch, and what they should consist of."""
    yield from ((path, LISTED) for path in folder.path.glob("listed.parquet"))
    yield from ((path, ITEMS) for path in folder.path.glob("items.parquet"))
    for path in sorted(folder.path.glob("parts/*/*/part-*.parquet")):
        yield path, _PARTS[path.parent.name]
    yield from ((path, FACES) for path in sorted(folder.path.glob("rows/*.parquet")))


def _check(path: Path, schema: pa.Schema, places: Places) -> None:
    """Read a table and the volumes that it says are there.

    Raises:
        FacepipeError: something is damaged.
    """
    for rows in read_part(path):
        if rows.schema != schema:
            raise FacepipeError(f"{path}: its columns are not those that were written")
        if schema is REGRESSED:
            for face_id in rows.filter(rows["reason"].is_null())["face_id"].to_pylist():
                read_volume(places.volume(face_id))
        if schema is FACES:
            for name in rows["volume_path"].drop_null().to_pylist():
                read_volume(places.archive / name)
