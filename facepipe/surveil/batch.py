"""One batch: begun, or found again, and brought through its stages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from datetime import datetime
from time import perf_counter
from typing import Any

import pyarrow as pa

from facepipe.core.tables import read_table, write_table
from facepipe.pipeline.executor import Client, Engine
from facepipe.pipeline.stage import create_arrays
from facepipe.pipeline.unit import Unit
from facepipe.pipeline.verify import VERIFY, VerifyJob
from facepipe.surveil.archive import Archive, delete_folder
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.ledger import Ledger
from facepipe.surveil.repair import mend
from facepipe.surveil.rows import write_rows
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import FACES_PER_UNIT, ITEMS, LISTED, WHOLE, SurveilUnit, Wave, make_items
from facepipe.surveil.stage_io import SURVEIL_STAGES
from facepipe.surveil.summary import Summary
from facepipe.surveil.surveil_batch import SurveilBatch
from facepipe.surveil.table_change import TableChange

logger = logging.getLogger("facepipe")

LAYOUT = 2
"""Of a batch in work: raised whenever one that was begun before cannot go on."""

Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a display of progress: (what is counted, how many there are) -> a function that counts on."""


def begin(
    archive: Archive, config: SurveilConfig, rules: Rules, files: Sequence[InboxFile], now: datetime
) -> SurveilBatch:
    """Make the folder of a new batch."""
    folder = BatchFolder(archive, archive.next_number())
    table = pa.Table.from_pylist([asdict(file) for file in files], schema=LISTED)
    write_table(folder.listed_path, table, private=True)
    folder.write_facts(
        _identity(config, rules) | {"stored": now.isoformat(), "replaces": config.replaces},
    )
    return _batch(folder, config, rules)


def find_begun(archive: Archive, config: SurveilConfig, rules: Rules) -> list[SurveilBatch]:
    """The batches that an earlier run left, mended; what is of no use is thrown away.

    That is, what was begun under other rules or by another version, and what has lost its description or its
    list of files. They are in the inbox still: whatever is thrown away is done again.
    """
    begun = []
    over = archive.read_facts().batch
    for path in sorted(archive.batches_path.glob("[0-9]*")):
        folder = BatchFolder(archive, int(path.name))
        facts = folder.read_facts()
        if facts:
            batch = _batch(folder, config, rules)
            mend(batch)
            same = all(facts.get(name) == value for name, value in _identity(config, rules).items())
            same_layout = facts.get("layout") == LAYOUT
            # What may choose inputs that are in the table already must also take their old rows away.
            goes_on = same and (facts["replaces"] or not config.replaces)
            if folder.listed_path.exists() and (goes_on or (same_layout and folder.is_finished())):
                begun.append(batch)
                continue
        logger.info("batch %d was begun otherwise, or is damaged: it is done again", folder.number)
        # Of a batch that is over, nothing but the folder is left to delete.
        for pixels in archive.pixels_path.glob(f"*/{path.name}") if folder.number > over else ():
            delete_folder(pixels)
        # Its number is spent: a worker that lost its driver may still write under it.
        TableChange(archive).commit(folder.number)
        folder.delete()
    return begun


def run_batch(
    batch: SurveilBatch,
    engine: Engine[SurveilUnit],
    ledger: Ledger,
    summary: Summary,
    show: Show,
    wave_frames: int,
) -> None:
    """Do what is missing of a batch, until the rows of all its waves are there.

    Raises:
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    folder = batch.folder
    look, detect, *of_faces = SURVEIL_STAGES
    _run_stage(batch, engine, summary, show, look.name, WHOLE)
    _plan(batch, ledger, summary, wave_frames)
    for wave in _waves_to_do(folder):
        _run_stage(batch, engine, summary, show, detect.name, wave)
        folder.list_faces(wave)
        for stage in of_faces if folder.count_faces(wave) else ():
            create_arrays(batch, stage, [wave], folder.count_faces(wave), FACES_PER_UNIT)
            _run_stage(batch, engine, summary, show, stage.name, wave)
        write_rows(batch, wave)
        summary.count(read_table(folder.rows_path(wave.number)))
    for name in ("crops", "restored"):  # where pixels are kept, these lie beside what is kept
        batch.open_store().delete_array(name)


def verify(batch: SurveilBatch, client: Client, unit_timeout_s: float | None) -> None:
    """Compare what an interrupted run left with its checksums; forget the units that cannot be trusted.

    Raises:
        EnvironmentTroubleError: disk, memory or cluster failed.
    """
    batch.open_store().sweep_temporary()
    waves = _waves_to_do(batch.folder) if batch.folder.items_path.exists() else []
    job = VerifyJob(batch, SURVEIL_STAGES)
    engine = Engine(client, job, unit_timeout_s, lambda unit: len(batch.verified_together(unit)))
    engine.run([Unit(VERIFY, wave, 0) for wave in (WHOLE, *waves)])


def _waves_to_do(folder: BatchFolder) -> list[Wave]:
    return [Wave(number) for number in range(folder.waves()) if not folder.rows_path(number).exists()]


def _plan(batch: SurveilBatch, ledger: Ledger, summary: Summary, wave_frames: int) -> None:
    """Choose the new inputs among what was looked at, cut them, and count all files as known."""
    folder = batch.folder
    new: list[dict[str, Any]] = []
    for row in folder.read_looked().to_pylist():
        if row["sha256"] is None:
            summary.unread += 1
            continue
        if ledger.is_done(row["sha256"]):
            summary.duplicates += 1
        else:
            summary.inputs += 1
            new.append(row)
        file = InboxFile(row["path"], row["size_bytes"], row["mtime_ns"], row["inode"])
        ledger.add(file, row["sha256"])
    if not folder.items_path.exists():
        items = pa.Table.from_pylist(list(make_items(new, batch.rules, wave_frames)), schema=ITEMS)
        write_table(folder.items_path, items, private=True)


def _run_stage(
    batch: SurveilBatch, engine: Engine[SurveilUnit], summary: Summary, show: Show, stage: str, wave: Wave
) -> None:
    units = batch.open_store().missing(batch.units(stage, wave))
    if not units:
        return
    began = perf_counter()
    with show(f"{stage} {batch.folder.number}", sum(map(batch.weight, units))) as advance:
        result = engine.run(units, lambda _, report: advance(report.samples))
    summary.record(stage, result, perf_counter() - began)


def _identity(config: SurveilConfig, rules: Rules) -> dict[str, Any]:
    """What must not change between two runs that work on one batch."""
    return {
        "rules": rules.digest(),
        "inbox": str(config.inbox.resolve()),
        "keep_pixels": not config.no_pixels,
        "layout": LAYOUT,
    }


def _batch(folder: BatchFolder, config: SurveilConfig, rules: Rules) -> SurveilBatch:
    facts = folder.read_facts()
    return SurveilBatch(
        folder,
        config.inbox.resolve(),
        rules,
        rules.detector.fingerprint,
        datetime.fromisoformat(facts["stored"]),
        facts["keep_pixels"],
    )
