"""What a worker does of a surveillance batch: one unit, read from the batch's folder and written to it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from facepipe.core.errors import SampleError
from facepipe.core.tables import read_table
from facepipe.detect import Detector
from facepipe.models.device import usable_device
from facepipe.pipeline.executor import TIMED_OUT, WORKER_DIED
from facepipe.pipeline.job import Reasons, UnitReport, environment_trouble
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.detect_stage import DETECTED, detect
from facepipe.surveil.face_stages import EXPORTED, REGRESSED, RESTORED, Places, export, regress, restore
from facepipe.surveil.inbox import InboxFile, shown
from facepipe.surveil.look_stage import LOOKED, look
from facepipe.surveil.quarantine import attempt
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import FACES_PER_BLOCK, FILES_PER_LOOK, SurveilUnit, expected_frames

logger = logging.getLogger("facepipe")

Row = dict[str, Any]

_kept: dict[str, Detector] = {}


@dataclass(frozen=True)
class SurveilJob:
    """A batch as the engine sees it: a `facepipe.pipeline.job.Job`.

    Attributes:
        folder: of the batch.
        inbox: where the files lie.
        rules: what determines the rows.
        detector_key: tells detectors apart, so that a process opens each only once.
        stored: when the batch began, UTC.
        keep_pixels: whether images, volumes and meshes stay.
    """

    folder: BatchFolder
    inbox: Path
    rules: Rules
    detector_key: str
    stored: datetime
    keep_pixels: bool

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks on a GPU; the detector's runs on the CPU."""
        return ("restore", "regress")

    @property
    def places(self) -> Places:
        """Where files go."""
        archive = self.folder.archive
        pixels = archive.pixels_folder(self.stored, self.folder.number) if self.keep_pixels else None
        return Places(archive.path, pixels or self.folder.path / "volumes", pixels)

    def span(self, unit: SurveilUnit) -> tuple[int, int]:
        """First and past-the-last file, item or row of a unit."""
        if unit.stage == "look":
            start = unit.shard * FILES_PER_LOOK
            return start, min(start + FILES_PER_LOOK, read_table(self.folder.listed_path).num_rows)
        if unit.stage == "detect":
            indices = [item["index"] for item in self.folder.read_items(unit.wave, unit.shard)]
            return indices[0], indices[-1] + 1
        start = unit.block * FACES_PER_BLOCK
        return start, min(start + FACES_PER_BLOCK, self.folder.count_rows(unit.wave, unit.shard))

    def weight(self, unit: SurveilUnit) -> int:
        """How many files, frames or faces a unit takes the time of."""
        if unit.stage == "detect":
            return sum(expected_frames(item) for item in self.folder.read_items(unit.wave, unit.shard))
        start, stop = self.span(unit)
        return stop - start

    def run(self, unit: SurveilUnit, skip: Reasons, device: str) -> UnitReport:
        """Do one unit and write its part; see `facepipe.pipeline.job.Job.run`."""
        started = time.perf_counter()
        with environment_trouble(unit):
            table, samples = _WORK[unit.stage](self, unit, skip, device)
            self.folder.write_part(unit, table)
        died = sum(reason in (WORKER_DIED, TIMED_OUT) for reason in table["reason"].to_pylist())
        return UnitReport(samples, died, time.perf_counter() - started)

    def probe(self, unit: SurveilUnit, index: int, skip: Reasons, device: str) -> None:
        """Do a unit's work on one sample alone and throw the result away."""
        # What it writes beside the table is what the unit itself will write there again.
        start, stop = self.span(unit)
        others = {i: ("probe", "") for i in range(start, stop) if i != index}
        _WORK[unit.stage](self, unit, {**others, **skip}, device)


def _look(job: SurveilJob, unit: SurveilUnit, skip: Reasons, device: str) -> tuple[pa.Table, int]:  # noqa: ARG001
    start, stop = job.span(unit)
    listed = read_table(job.folder.listed_path).slice(start, stop - start).to_pylist()
    rows = []
    for index, row in enumerate(listed, start):
        file = InboxFile(row["path"], row["size_bytes"], row["mtime_ns"], row["inode"])
        given_up = skip.get(index)
        found = attempt(lambda f=file, g=given_up: look(job.inbox, f, job.rules, g))  # type: ignore[misc]
        if isinstance(found, SampleError):
            logger.warning("%s: %s; the next run tries again", shown(file.path), found.detail)
            found = {"sha256": None, "reason": found.reason, "detail": found.detail}
        rows.append({**row, "index": index, **found})
    return pa.Table.from_pylist(rows, schema=LOOKED), stop - start


def _detect(job: SurveilJob, unit: SurveilUnit, skip: Reasons, device: str) -> tuple[pa.Table, int]:  # noqa: ARG001
    detector = _kept.setdefault(job.detector_key, job.rules.detector)
    rows: list[Row] = []
    for item in job.folder.read_items(unit.wave, unit.shard):
        index = item["index"]
        if index in skip:
            item["reason"], item["detail"] = skip[index]
        found = attempt(lambda item=item: detect(job.inbox, item, job.rules, detector))  # type: ignore[misc]
        if isinstance(found, SampleError):
            item["reason"], item["detail"] = found.reason, found.detail
            found = detect(job.inbox, item, job.rules, detector)
        rows += found
    frames = len({(row["sha256"], row.get("frame")) for row in rows})
    numbered = [row | {"index": index} for index, row in enumerate(rows)]
    return pa.Table.from_pylist(numbered, schema=DETECTED), frames


def _restore(job: SurveilJob, unit: SurveilUnit, skip: Reasons, device: str) -> tuple[pa.Table, int]:
    rows = [row for row in job.folder.read_block(unit).to_pylist() if row["crop"] is not None]
    made = restore([row for row in rows if row["index"] not in skip], job.rules, usable_device(device))
    return _table(RESTORED, rows, made, skip)


def _regress(job: SurveilJob, unit: SurveilUnit, skip: Reasons, device: str) -> tuple[pa.Table, int]:
    rows = job.folder.read_part(replace(unit, stage="restore")).to_pylist()
    good = [row for row in rows if not row["reason"] and row["index"] not in skip]
    return _table(REGRESSED, rows, regress(good, job.rules, job.places, usable_device(device)), skip)


def _export(job: SurveilJob, unit: SurveilUnit, skip: Reasons, device: str) -> tuple[pa.Table, int]:  # noqa: ARG001
    rows = job.folder.read_part(replace(unit, stage="regress")).to_pylist()
    good = [row for row in rows if not row["reason"] and row["index"] not in skip]
    restored = {row["index"]: row for row in job.folder.read_part(replace(unit, stage="restore")).to_pylist()}
    crops = {row["index"]: row for row in job.folder.read_block(unit).to_pylist()}
    return _table(EXPORTED, rows, export(good, restored, crops, job.rules, job.places), skip)


_WORK: dict[str, Callable[[SurveilJob, SurveilUnit, Reasons, str], tuple[pa.Table, int]]] = {
    "look": _look,
    "detect": _detect,
    "restore": _restore,
    "regress": _regress,
    "export": _export,
}


def _table(schema: pa.Schema, before: list[Row], made: list[Row], skip: Reasons) -> tuple[pa.Table, int]:
    """The part of a unit: what was made, and for every other row the reason why it was not."""
    by_index = {row["index"]: row for row in made}
    rows = []
    for row in before:
        reason, detail = skip.get(row["index"], (row["reason"], row["detail"]))
        named = {"index": row["index"], "face_id": row.get("face_id"), "reason": reason, "detail": detail}
        rows.append(by_index.get(row["index"], named))
    return pa.Table.from_pylist(rows, schema=schema), len(before)
