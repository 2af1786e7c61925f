"""Discard the damaged lists and rows that an interrupted run left of a batch.

The results of units and their arrays are verified on the cluster (`facepipe.pipeline.verify`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from facepipe.core.schema import FACES
from facepipe.core.tables import read_checked
from facepipe.surveil.archive import delete_folder
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.spec import FACES_PER_UNIT, ITEMS, LISTED, Wave
from facepipe.surveil.surveil_batch import SurveilBatch

logger = logging.getLogger("facepipe")


def mend(batch: SurveilBatch) -> None:
    """Delete lists that are damaged, and the rows of waves that are, or name volumes that are.

    Whatever is missing then is made again from what it was made of; where that is the inbox, which may have
    changed, what was made from it goes, too. Images and meshes have no checksum.
    """
    folder = batch.folder
    for path, schema in _tables(folder):
        if path.exists() and not _is_sound(path, schema, batch):
            logger.warning("%s is made again: it, or a volume that it names, is damaged", path)
            path.unlink()
    if not folder.items_path.exists():
        folder.forget_waves()
        delete_folder(batch.open_store().zarr_path)


def _tables(folder: BatchFolder) -> Iterator[tuple[Path, pa.Schema]]:
    """The lists and rows of a batch, and what they should consist of."""
    yield folder.listed_path, LISTED
    yield folder.items_path, ITEMS
    yield from ((path, FACES) for path in sorted(folder.path.glob("rows/*.parquet")))


def _is_sound(path: Path, schema: pa.Schema, batch: SurveilBatch) -> bool:
    try:
        table = read_checked(path, lambda _: schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        return False
    if schema is not FACES:
        return True
    store, wave = batch.open_store(), Wave(int(path.stem))
    indices = (int(name.rpartition("#")[2]) for name in table["volume_path"].drop_null().to_pylist())
    return not any(store.broken(wave.volumes, shard) for shard in {i // FACES_PER_UNIT for i in indices})
