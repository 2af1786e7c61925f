"""Join what the units of a wave made to its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from facepipe.core.schema import FACES
from facepipe.core.tables import write_tables
from facepipe.surveil.face_stages import EXPORTED
from facepipe.surveil.spec import Wave
from facepipe.surveil.surveil_batch import SurveilBatch

_RESULTS = tuple(name for name in EXPORTED.names if name != "index")


def write_rows(batch: SurveilBatch, wave: Wave) -> None:
    """Join what the units of a wave wrote to rows of the table: from then on the wave is done.

    Raises:
        EnvironmentTroubleError: a unit's result is missing or damaged.
    """
    store, folder = batch.open_store(), batch.folder
    if store.has_array(wave.volumes):
        store.sync_array(wave.volumes)  # rows name volumes only once these last
    write_tables(folder.rows_path(wave.number), _rows(batch, wave), FACES, private=True)
    folder.forget_wave(wave)
    store.delete_array(wave.crops)
    store.delete_array(wave.restored)
    if not batch.keep_pixels:
        store.delete_array(wave.volumes)


def _rows(batch: SurveilBatch, wave: Wave) -> Iterator[pa.Table]:
    exported = _exported(batch, wave)
    rules, store = batch.rules, batch.open_store()
    regressor_key = rules.regressor_key()
    for unit in batch.units("detect", wave):
        rows = []
        for row in store.read_result(unit).drop_columns(["crop_px"]).to_pylist():
            row |= {
                "stored": batch.stored,
                "frames_key": rules.frames_key(row["kind"]),
                "pixels_deleted": False,
            }
            result = exported.get((unit.shard, row["index"]))
            if result is not None:
                row |= {name: result[name] for name in _RESULTS}
                row["method_key"] = rules.method_key(result["low_px"])
                row["method"] = None if result["low_px"] is None else rules.method
                row |= {"regressor": rules.regressor, "regressor_key": regressor_key}
            rows.append(row)
        yield pa.Table.from_pylist(rows, schema=FACES)


def _exported(batch: SurveilBatch, wave: Wave) -> dict[tuple[int, int], dict[str, Any]]:
    """What export said of each face, by the unit of detect that found it and its row there."""
    store = batch.open_store()
    results: dict[int, dict[str, Any]] = {}
    # By name: a listing may lack a result that another machine wrote, and nobody would miss it.
    for unit in batch.units("export", wave):
        results |= {row["index"]: row for row in store.read_result(unit).to_pylist()}
    faces = batch.folder.read_faces(wave).to_pylist()
    return {(face["shard"], face["row"]): results[face["index"]] for face in faces}
