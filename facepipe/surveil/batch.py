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

from facepipe.core.tables import read_table, write_tables
from facepipe.pipeline.executor import Engine
from facepipe.surveil.archive import Archive, delete_folder
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.ledger import Ledger
from facepipe.surveil.publish import write_rows
from facepipe.surveil.repair import mend
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import (
    ITEMS,
    LISTED,
    LOOK_WAVE,
    STAGES,
    SurveilUnit,
    make_items,
)
from facepipe.surveil.summary import Summary
from facepipe.surveil.table_change import TableChange
from facepipe.surveil.worker import SurveilJob

logger = logging.getLogger("facepipe")

Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a display of progress: (what is counted, how many there are) -> a function that counts on."""


def begin(
    archive: Archive, config: SurveilConfig, rules: Rules, files: Sequence[InboxFile], now: datetime
) -> SurveilJob:
    """Make the folder of a new batch."""
    folder = BatchFolder(archive, archive.next_number())
    table = pa.Table.from_pylist([asdict(file) for file in files], schema=LISTED)
    write_tables(folder.listed_path, [table], LISTED, private=True)
    folder.write_facts(
        _identity(config, rules) | {"stored": now.isoformat(), "replaces": config.replaces},
    )
    return _job(folder, config, rules)


def find_begun(archive: Archive, config: SurveilConfig, rules: Rules) -> list[SurveilJob]:
    """The batches that an earlier run left, mended; what is of no use is thrown away.

    That is, what was begun under other rules, and what has lost its description or its list of files. They
    are in the inbox still: whatever is thrown away is done again.
    """
    begun = []
    over = archive.read_facts().batch
    for path in sorted(archive.batches_path.glob("[0-9]*")):
        folder = BatchFolder(archive, int(path.name))
        facts = folder.read_facts()
        if facts:
            job = _job(folder, config, rules)
            mend(folder, job.places)
            same = all(facts[name] == value for name, value in _identity(config, rules).items())
            # What may choose inputs that are in the table already must also take their old rows away.
            goes_on = same and (facts["replaces"] or not config.replaces)
            if folder.listed_path.exists() and (goes_on or folder.is_finished()):
                begun.append(job)
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
    job: SurveilJob, engine: Engine, ledger: Ledger, summary: Summary, show: Show, wave_frames: int
) -> None:
    """Do what is missing of a batch, until the rows of all its waves are there.

    Raises:
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    folder = job.folder
    looks = [(shard, 0) for shard in range(folder.look_shards())]
    _run_stage(job, engine, summary, show, "look", LOOK_WAVE, looks)
    _plan(job, ledger, summary, wave_frames)
    for wave in range(folder.waves()):
        if folder.rows_path(wave).exists():
            continue
        shards_of_wave = folder.shards(wave)
        for stage in STAGES:
            blocks = [
                (shard, block) for shard in shards_of_wave for block in _blocks(folder, stage, wave, shard)
            ]
            _run_stage(job, engine, summary, show, stage, wave, blocks)
        write_rows(job, wave, shards_of_wave)
        summary.count(read_table(folder.rows_path(wave)))


def _plan(job: SurveilJob, ledger: Ledger, summary: Summary, wave_frames: int) -> None:
    """Choose the new inputs among what was looked at, cut them, and count all files as known."""
    folder = job.folder
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
        items = pa.Table.from_pylist(list(make_items(new, job.rules, wave_frames)), schema=ITEMS)
        write_tables(folder.items_path, [items], ITEMS, private=True)


def _blocks(folder: BatchFolder, stage: str, wave: int, shard: int) -> list[int]:
    """The blocks of a shard that a stage has to do with."""
    if stage == "detect":
        return [0]
    return [block for block, faces in enumerate(folder.count_faces(wave, shard)) if faces]


def _run_stage(
    job: SurveilJob,
    engine: Engine,
    summary: Summary,
    show: Show,
    stage: str,
    wave: int,
    blocks: Sequence[tuple[int, int]],
) -> None:
    done = job.folder.done(stage, wave)
    units = [SurveilUnit(stage, wave, *block) for block in blocks if block not in done]
    if not units:
        return
    began = perf_counter()
    with show(f"{stage} {job.folder.number}", sum(_expected(job, unit) for unit in units)) as advance:
        result = engine.run(units, lambda _, report: advance(report.samples))
    summary.record(stage, result, perf_counter() - began)


def _expected(job: SurveilJob, unit: SurveilUnit) -> int:
    """How many files, frames or faces a unit has."""
    if unit.stage in ("look", "detect"):
        return job.weight(unit)
    return job.folder.count_faces(unit.wave, unit.shard)[unit.block]


def _identity(config: SurveilConfig, rules: Rules) -> dict[str, Any]:
    """What must not change between two runs that work on one batch."""
    return {
        "rules": rules.digest(),
        "inbox": str(config.inbox.resolve()),
        "keep_pixels": not config.no_pixels,
    }


def _job(folder: BatchFolder, config: SurveilConfig, rules: Rules) -> SurveilJob:
    facts = folder.read_facts()
    return SurveilJob(
        folder,
        config.inbox.resolve(),
        rules,
        rules.detector.fingerprint,
        datetime.fromisoformat(facts["stored"]),
        facts["keep_pixels"],
    )
