"""The stages of a surveillance batch, declared: what each reads, does to a unit, and writes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import MISSING_FILE, SampleError
from facepipe.core.tables import read_table
from facepipe.detect import Detector
from facepipe.models.device import usable_device
from facepipe.models.vrn.regressors import get_regressor
from facepipe.pipeline.batch_store import ArraySpec
from facepipe.pipeline.job import Reasons
from facepipe.pipeline.stage import Made, Stage
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.worker_check import check_gone
from facepipe.surveil.detect_stage import DETECTED, detect
from facepipe.surveil.face_stages import EXPORTED, REGRESSED, RESTORED, Face, export, regress, restore
from facepipe.surveil.inbox import InboxFile, shown
from facepipe.surveil.look_stage import CHANGED, LOOKED, look
from facepipe.surveil.quarantine import attempt
from facepipe.surveil.spec import SurveilUnit, Wave
from facepipe.surveil.surveil_batch import SurveilBatch
from facepipe.surveil.volumes import volume_name

logger = logging.getLogger("facepipe")

Row = dict[str, Any]
Image8 = NDArray[np.uint8]

_kept: dict[str, Detector] = {}


def _look(batch: SurveilBatch, unit: SurveilUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    start, stop = batch.span(unit)
    listed = read_table(batch.folder.listed_path).slice(start, stop - start).to_pylist()
    rows = []
    gone: dict[int, tuple[str, str]] = {}
    for index, row in enumerate(listed, start):
        file = InboxFile(row["path"], row["size_bytes"], row["mtime_ns"], row["inode"])
        given_up = skip.get(index)
        found = attempt(lambda f=file, g=given_up: look(batch.inbox, f, batch.rules, g))  # type: ignore[misc]
        if isinstance(found, SampleError):
            if found.reason == MISSING_FILE:
                gone[index] = (found.reason, found.detail)
            logger.warning("%s: %s; the next run tries again", shown(file.path), found.detail)
            found = {"sha256": None, "reason": found.reason, "detail": found.detail}
        rows.append({**row, "index": index, **found})
    check_gone(gone, skip)
    return Made(pa.Table.from_pylist(rows, schema=LOOKED))


def _detect(batch: SurveilBatch, unit: SurveilUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    detector = _kept.setdefault(batch.detector_key, batch.rules.detector)
    rows: list[Row] = []
    gone: dict[int, tuple[str, str]] = {}
    for item in batch.folder.read_items(unit.condition.number, unit.shard):
        index = item["index"]
        if index in skip:
            item["reason"], item["detail"] = skip[index]
        found = attempt(lambda item=item: detect(batch.inbox, item, batch.rules, detector))  # type: ignore[misc]
        if isinstance(found, SampleError):
            if found.reason == MISSING_FILE:
                found = SampleError(CHANGED, found.detail)  # nobody is blamed: the next run looks again
                gone[index] = (found.reason, found.detail)
            item["reason"], item["detail"] = found.reason, found.detail
            found = detect(batch.inbox, item, batch.rules, detector)
        rows += found
    check_gone(gone, skip)
    numbered = [row | {"index": index} for index, row in enumerate(rows)]
    crops = [row["crop"] for row in rows if row.get("crop_px")]
    made = {unit.condition.crops_of(unit.shard): _stacked(crops)} if crops else {}
    return Made(pa.Table.from_pylist(numbered, schema=DETECTED), own_arrays=made)


def _stacked(crops: list[Image8]) -> Image8:
    """Crops of several sizes in one array, each in its upper left corner."""
    side = max(map(len, crops))
    stacked = np.zeros((len(crops), side, side, 3), np.uint8)
    for place, crop in zip(stacked, crops, strict=True):
        place[: len(crop), : len(crop)] = crop
    return stacked


def _crops(batch: SurveilBatch, unit: SurveilUnit) -> dict[int, Image8]:
    """The faces of a unit as detect cut them out, uint8 RGB (S, S, 3) by index."""
    store = batch.open_store()
    found = {}
    for face in _faces(batch, unit):
        array = unit.condition.crops_of(face["shard"])
        side = face["crop_px"]
        found[face["index"]] = store.read(array, face["crop"], face["crop"] + 1)[0, :side, :side]
    return found


def _faces(batch: SurveilBatch, unit: SurveilUnit) -> list[Row]:
    start, stop = batch.span(unit)
    return list(batch.folder.read_faces(unit.condition).slice(start, stop - start).to_pylist())


def _restore(batch: SurveilBatch, unit: SurveilUnit, skip: Reasons, device: str) -> Made:
    start, stop = batch.span(unit)
    crops = {index: crop for index, crop in _crops(batch, unit).items() if index not in skip}
    rows, images = restore(crops, batch.rules, usable_device(device))
    array = _shard(images, start, stop, (NETWORK_PX, NETWORK_PX, 3))
    return Made(_table(RESTORED, start, stop, rows, skip), {unit.condition.restored: array})


def _regress(batch: SurveilBatch, unit: SurveilUnit, skip: Reasons, device: str) -> Made:
    start, stop = batch.span(unit)
    lost = _lost(batch, unit, "restore") | dict(skip)
    images = batch.open_store().read(unit.condition.restored, start, stop)
    good = {index: images[index - start] for index in range(start, stop) if index not in lost}
    volumes = regress(good, batch.rules, usable_device(device))
    array = _shard(volumes, start, stop, get_regressor(batch.rules.regressor).geometry.shape)
    rows: dict[int, Row] = {index: {} for index in volumes}
    return Made(_table(REGRESSED, start, stop, rows, lost), {unit.condition.volumes: array})


def _export(batch: SurveilBatch, unit: SurveilUnit, skip: Reasons, device: str) -> Made:  # noqa: ARG001
    start, stop = batch.span(unit)
    store, archive = batch.open_store(), batch.folder.archive.path
    lost = _lost(batch, unit, "regress") | dict(skip)
    crops = _crops(batch, unit)
    restored = store.read_result(Unit("restore", unit.condition, unit.shard)).to_pylist()
    sizes = {row["index"]: row["low_px"] for row in restored}
    rows: dict[int, Row] = {}
    files: dict[Path, bytes] = {}
    for face in _faces(batch, unit):
        index = face["index"]
        if index in lost:
            continue

        def step(index: int = index, face_id: str = face["face_id"]) -> tuple[Row, dict[Path, bytes]]:
            image = store.read(unit.condition.restored, index, index + 1)[0]
            volume = store.read(unit.condition.volumes, index, index + 1)[0]
            folder = store.zarr_path / unit.condition.volumes
            name = volume_name(folder.relative_to(archive).as_posix(), index)
            known = Face(face_id, crops[index], image, volume, name)
            return export(known, batch.rules, archive, batch.pixels)

        made = attempt(step)
        if isinstance(made, SampleError):
            rows[index] = {"reason": made.reason, "detail": made.detail}
        else:
            rows[index] = made[0]
            files |= made[1]
        rows[index]["low_px"] = sizes[index]
    return Made(_table(EXPORTED, start, stop, rows, lost), files=files)


def _lost(batch: SurveilBatch, unit: SurveilUnit, stage: str) -> dict[int, tuple[str, str]]:
    """The faces of a unit that an earlier stage gave up, with the reasons."""
    rows = batch.open_store().read_result(Unit(stage, unit.condition, unit.shard)).to_pylist()
    return {row["index"]: (row["reason"], row["detail"]) for row in rows if row["reason"]}


def _shard(
    made: Mapping[int, NDArray[np.uint8]], start: int, stop: int, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    """What was made, in the place of its index; zeros elsewhere."""
    array = np.zeros((stop - start, *shape), np.uint8)
    for index, values in made.items():
        array[index - start] = values
    return array


def _table(schema: pa.Schema, start: int, stop: int, made: Mapping[int, Row], lost: Reasons) -> pa.Table:
    """The result of a unit: what was made, and for every other face the reason why it was not."""
    rows = []
    for index in range(start, stop):
        reason, detail = lost.get(index, (None, None))
        rows.append({"index": index, **made.get(index, {"reason": reason, "detail": detail})})
    return pa.Table.from_pylist(rows, schema=schema)


def _detected(batch: SurveilBatch, unit: SurveilUnit) -> list[SurveilUnit]:
    """Every unit of detect of the wave: they determine which faces it has."""
    return batch.units("detect", unit.condition)


def _restored(batch: SurveilBatch, unit: SurveilUnit) -> list[SurveilUnit]:
    return [*_detected(batch, unit), Unit("restore", unit.condition, unit.shard)]


def _regressed(batch: SurveilBatch, unit: SurveilUnit) -> list[SurveilUnit]:
    return [*_restored(batch, unit), Unit("regress", unit.condition, unit.shard)]


def _own_crops(unit: SurveilUnit, rows: pa.Table) -> dict[str, int]:
    count = rows.num_rows - rows["crop_px"].null_count
    return {unit.condition.crops_of(unit.shard): count} if count else {}


def _restored_array(batch: SurveilBatch, wave: Wave) -> dict[str, ArraySpec]:  # noqa: ARG001
    return {wave.restored: ArraySpec((NETWORK_PX, NETWORK_PX, 3))}


def _volume_array(batch: SurveilBatch, wave: Wave) -> dict[str, ArraySpec]:
    geometry = get_regressor(batch.rules.regressor).geometry
    attributes = {"spacing": list(geometry.spacing), "z_zero": geometry.z_zero}
    return {wave.volumes: ArraySpec(geometry.shape, attributes=attributes)}


SURVEIL_STAGES: tuple[Stage[SurveilBatch, Wave], ...] = (
    Stage("look", _look),
    Stage("detect", _detect, own_arrays=_own_crops),
    Stage("restore", _restore, _detected, _restored_array),
    Stage("regress", _regress, _restored, _volume_array),
    Stage("export", _export, _regressed),
)
"""Every stage of a batch, in their order."""
