"""A surveillance batch as the pipeline sees it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from facepipe.core.tables import read_table
from facepipe.pipeline.executor import TIMED_OUT, WORKER_DIED
from facepipe.pipeline.job import Site
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY
from facepipe.pipeline.worker_check import readable
from facepipe.surveil.batch_folder import BatchFolder, SurveilStore
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import (
    FACES_PER_UNIT,
    FILES_PER_LOOK,
    STAGES,
    WHOLE,
    SurveilUnit,
    Wave,
    expected_frames,
)


@dataclass(frozen=True)
class SurveilBatch:
    """A `facepipe.pipeline.stage.Batch`.

    Attributes:
        folder: of the batch.
        inbox: where the files lie.
        rules: what determines the rows.
        detector_key: tells detectors apart, so that a process opens each only once.
        stored: when the batch began, UTC.
        keep_pixels: whether images, volumes and meshes stay.
        weights: digests of the weights that every worker must have, see `Rules.weights_of`.
    """

    folder: BatchFolder
    inbox: Path
    rules: Rules
    detector_key: str
    stored: datetime
    keep_pixels: bool
    weights: Mapping[str, str] = field(default_factory=dict)

    @property
    def site(self) -> Site:
        """The batch's folder and some of its files in the inbox."""
        rows = read_table(self.folder.listed_path).to_pylist()
        files = ((self.inbox / os.fsdecode(row["path"]), row["size_bytes"]) for row in rows)
        return Site(self.folder.path, readable(files))

    def fingerprints(self, unit: SurveilUnit) -> dict[str, str]:
        """Digests of the weights that a unit uses, as they are where this is asked, by name."""
        return self.rules.weights_of(unit.stage)

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks on a GPU; the detector's runs on the CPU."""
        return ("restore", "regress")

    @property
    def pixels(self) -> Path | None:
        """Where images, volumes and meshes go; None keeps none."""
        archive = self.folder.archive
        return archive.pixels_folder(self.stored, self.folder.number) if self.keep_pixels else None

    def open_store(self) -> SurveilStore:
        """Its arrays and results. Where pixels are kept, arrays lie beside them."""
        arrays = self.pixels / "store.zarr" if self.pixels else None
        return SurveilStore(self.folder.path, arrays, private=True)

    def units(self, stage: str, wave: Wave) -> list[SurveilUnit]:
        """The units of a stage; those of faces are known once detect is done and they are listed."""
        folder = self.folder
        if stage == "look":
            shards: Sequence[int] = range(folder.look_shards())
        elif stage == STAGES[0]:
            shards = folder.shards(wave.number)
        else:
            shards = range(-(-folder.count_faces(wave) // FACES_PER_UNIT))
        return [Unit(stage, wave, shard) for shard in shards]

    def span(self, unit: SurveilUnit) -> tuple[int, int]:
        """First and past-the-last file, item or face of a unit; verification has one for a wave."""
        if unit.stage == VERIFY:
            return 0, 1
        if unit.stage == "look":
            start = unit.shard * FILES_PER_LOOK
            return start, min(start + FILES_PER_LOOK, read_table(self.folder.listed_path).num_rows)
        if unit.stage == STAGES[0]:
            indices = [item["index"] for item in self.folder.read_items(unit.condition.number, unit.shard)]
            return indices[0], indices[-1] + 1
        start = unit.shard * FACES_PER_UNIT
        return start, min(start + FACES_PER_UNIT, self.folder.count_faces(unit.condition))

    def weight(self, unit: SurveilUnit) -> int:
        """How many files, frames or faces a unit takes the time of."""
        if unit.stage == STAGES[0]:
            items = self.folder.read_items(unit.condition.number, unit.shard)
            return sum(expected_frames(item) for item in items)
        start, stop = self.span(unit)
        return stop - start

    def outcome(self, unit: SurveilUnit, rows: pa.Table) -> tuple[int, list[str]]:
        """How many files, frames or faces a unit had, and the reasons of those that cost workers."""
        lost = [reason for reason in rows["reason"].to_pylist() if reason in (WORKER_DIED, TIMED_OUT)]
        if unit.stage == STAGES[0]:
            frames = zip(rows["sha256"].to_pylist(), rows["frame"].to_pylist(), strict=True)
            return len(set(frames)), lost
        return rows.num_rows, lost

    def verified_together(self, unit: SurveilUnit) -> list[SurveilUnit]:
        """The units of a wave: all of detect, and those of later stages that are done."""
        wave = unit.condition
        if wave == WHOLE:
            return self.units("look", wave)
        store = self.open_store()
        later = (Unit(stage, wave, shard) for stage in STAGES[1:] for shard in store.done(stage, wave))
        return [*self.units(STAGES[0], wave), *later]

    def needs_arrays(self, units: Sequence[SurveilUnit], done: Collection[SurveilUnit]) -> bool:  # noqa: ARG002
        """Always: a wave's arrays go after its rows are written."""
        return True
