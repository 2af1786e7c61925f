"""One batch: begun, or found again after an interruption."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import pyarrow as pa

from facepipe.core.tables import write_table
from facepipe.surveil.archive import Archive, delete_folder
from facepipe.surveil.batch_folder import BatchFolder
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.delta_table import TableChange, faces_table
from facepipe.surveil.inbox import InboxFile
from facepipe.surveil.repair import mend
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import LISTED, STAGES
from facepipe.surveil.surveil_batch import SurveilBatch

logger = logging.getLogger("facepipe")

LAYOUT = 2
"""Of a batch in work: raised whenever one that was begun before cannot go on."""


def begin(
    archive: Archive, config: SurveilConfig, rules: Rules, files: Sequence[InboxFile], now: datetime
) -> SurveilBatch:
    """Make the folder of a new batch."""
    folder = BatchFolder(archive, next_number(archive))
    table = pa.Table.from_pylist([asdict(file) for file in files], schema=LISTED)
    write_table(folder.listed_path, table, private=True)
    folder.write_facts(
        _identity(config, rules) | {"stored": now.isoformat(), "replaces": config.replaces},
    )
    return _batch(folder, config, rules)


def next_number(archive: Archive) -> int:
    """A number that no batch had before."""
    in_work = (int(path.name) for path in archive.batches_path.glob("[0-9]*"))
    return max(faces_table(archive).batch(), *in_work, 0) + 1


def find_begun(archive: Archive, config: SurveilConfig, rules: Rules) -> list[SurveilBatch]:
    """The batches that an earlier run left, mended; what is of no use is thrown away.

    That is, what was begun under other rules or by another version, and what has lost its description or its
    list of files. They are in the inbox still: whatever is thrown away is done again.
    """
    begun = []
    over = faces_table(archive).batch()
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
        TableChange(faces_table(archive)).commit(folder.number)
        folder.delete()
    return begun


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
        {name: key for stage in STAGES for name, key in rules.weights_of(stage).items()},
    )
