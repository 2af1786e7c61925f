"""The steps of a batch: look, detect, restore, regress, export, publish.

Each step does what is missing, and may be repeated. Commands call these functions, Prefect's flow calls tasks
that are made from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import pyarrow as pa

from facepipe.core.tables import read_table, write_table
from facepipe.pipeline.stage import create_arrays
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, VerifyJob
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.night import Night
from facepipe.surveil.publish import publish as put_into_archive
from facepipe.surveil.rows import write_rows
from facepipe.surveil.spec import FACES_PER_UNIT, ITEMS, WHOLE, Wave, make_items
from facepipe.surveil.stage_io import SURVEIL_STAGES
from facepipe.surveil.surveil_batch import SurveilBatch


def look(night: Night, batch: SurveilBatch) -> None:
    """Read every file of a batch once, and choose and cut its new inputs.

    What an interrupted run left of the batch is compared with its checksums first.
    """
    if batch.open_store().has_results():
        _verify(night, batch)
    _do(night, batch, "look", WHOLE)
    _plan(night, batch)


def detect(night: Night, batch: SurveilBatch, wave: Wave) -> None:
    """Find the faces of a wave and cut them out."""
    _do(night, batch, "detect", wave)
    batch.folder.list_faces(wave)


def restore(night: Night, batch: SurveilBatch, wave: Wave) -> None:
    """Bring the faces of a wave to network size."""
    _do_faces(night, batch, "restore", wave)


def regress(night: Night, batch: SurveilBatch, wave: Wave) -> None:
    """Regress the volumes of a wave, on GPU workers where there are any."""
    _do_faces(night, batch, "regress", wave)


def export(night: Night, batch: SurveilBatch, wave: Wave) -> None:
    """Make meshes and images of a wave, and its rows: from then on it is done."""
    _do_faces(night, batch, "export", wave)
    write_rows(batch, wave)
    night.summary.count(read_table(batch.folder.rows_path(wave.number)))


def publish(night: Night, batch: SurveilBatch) -> None:  # noqa: ARG001 - as the other steps
    """Put a batch whose waves are done into the archive's tables, at once for every reader."""
    for name in ("crops", "restored"):  # where pixels are kept, these lie beside what is kept
        batch.open_store().delete_array(name)
    put_into_archive(batch.folder)


@dataclass(frozen=True)
class Steps:
    """The steps in their order: the functions of this module, or tasks made from them."""

    look: Callable[[Night, SurveilBatch], None] = look
    detect: Callable[[Night, SurveilBatch, Wave], None] = detect
    restore: Callable[[Night, SurveilBatch, Wave], None] = restore
    regress: Callable[[Night, SurveilBatch, Wave], None] = regress
    export: Callable[[Night, SurveilBatch, Wave], None] = export
    publish: Callable[[Night, SurveilBatch], None] = publish


def take_through(night: Night, batch: SurveilBatch, steps: Steps) -> None:
    """Bring a batch into the archive.

    Raises:
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    steps.look(night, batch)
    for wave in _waves_to_do(batch):
        steps.detect(night, batch, wave)
        steps.restore(night, batch, wave)
        steps.regress(night, batch, wave)
        steps.export(night, batch, wave)
    steps.publish(night, batch)


def _waves_to_do(batch: SurveilBatch) -> list[Wave]:
    folder = batch.folder
    return [Wave(number) for number in range(folder.waves()) if not folder.rows_path(number).exists()]


def _do(night: Night, batch: SurveilBatch, stage: str, wave: Wave) -> None:
    units = list(batch.open_store().missing(batch.units(stage, wave)))
    if not units:
        return
    began = perf_counter()
    with night.show(f"{stage} {batch.folder.number}", sum(map(batch.weight, units))) as advance:
        result = night.engine(batch).run(units, lambda _, report: advance(report.samples))
    night.summary.record(stage, result, perf_counter() - began)


def _do_faces(night: Night, batch: SurveilBatch, stage: str, wave: Wave) -> None:
    count = batch.folder.count_faces(wave)
    if count:
        declared = next(each for each in SURVEIL_STAGES if each.name == stage)
        create_arrays(batch, declared, [wave], count, FACES_PER_UNIT)
        _do(night, batch, stage, wave)


def _verify(night: Night, batch: SurveilBatch) -> None:
    """Compare what an interrupted run left with its checksums; forget the units that cannot be trusted."""
    batch.open_store().sweep_temporary()
    waves = _waves_to_do(batch) if batch.folder.items_path.exists() else []
    units = [Unit(VERIFY, wave, 0) for wave in (WHOLE, *waves)]
    job = VerifyJob(batch, SURVEIL_STAGES)
    night.engine_of(job, lambda unit: len(batch.verified_together(unit))).run(units)


def _plan(night: Night, batch: SurveilBatch) -> None:
    """Choose the new inputs among what was looked at, cut them, and count all files as known."""
    folder, ledger, summary = batch.folder, night.ledger, night.summary
    looked = folder.read_looked().to_pylist()
    new, seen = [], set()
    for row in looked:
        sha256 = row["sha256"]
        if sha256 is not None and sha256 not in seen and not ledger.is_done(sha256):
            seen.add(sha256)
            new.append(row)
    if not folder.items_path.exists():
        items = list(make_items(new, night.config.wave_frames))
        write_table(folder.items_path, pa.Table.from_pylist(items, schema=ITEMS), private=True)
    # Files count as known only once the list is there, so that this step can be repeated.
    for row in looked:
        if row["sha256"] is not None:
            ledger.add(
                InboxFile(row["path"], row["size_bytes"], row["mtime_ns"], row["inode"]), row["sha256"]
            )
    summary.inputs += len(new)
    summary.unread += sum(row["sha256"] is None for row in looked)
    summary.duplicates += sum(row["sha256"] is not None for row in looked) - len(new)
