"""A surveillance run: from the files of an inbox to rows of an archive, batch by batch.

The state of a run is the archive's folder: which contents are in the table, which units of a batch have
written their part. A run that was killed goes on there, and ends as if nothing had happened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime

from facepipe.core.errors import UsageError
from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import check_cluster, connect, open_cluster
from facepipe.pipeline.executor import Client, Engine
from facepipe.surveil.archive import Archive
from facepipe.surveil.batch import Show, begin, find_begun, run_batch, verify
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.inbox import InboxFile, list_inbox
from facepipe.surveil.ledger import Ledger
from facepipe.surveil.publish import finish, publish
from facepipe.surveil.retention import expire
from facepipe.surveil.rules import Rules, resolve_rules
from facepipe.surveil.stage_io import SURVEIL_STAGES
from facepipe.surveil.summary import Summary
from facepipe.surveil.surveil_batch import SurveilBatch

logger = logging.getLogger("facepipe")

FILES_PER_BATCH = 256
BYTES_PER_BATCH = 2_000_000_000
"""A batch's rows appear together: it ends when either is reached, so that long videos do not keep the rows of
hundreds of other files waiting."""


def check(config: SurveilConfig) -> Rules:
    """Refuse what cannot work before anything is made.

    Raises:
        UsageError: no inbox; the archive in the inbox, or around it; an unknown name or cluster.
        WeightsError: weights are damaged.
    """
    inbox, out = config.inbox.resolve(), config.out.resolve()
    if not inbox.is_dir():
        raise UsageError(f"inbox {config.inbox}: no such folder")
    if out == inbox or inbox in out.parents or out in inbox.parents:
        raise UsageError(f"--out {config.out}: an archive cannot lie in its inbox, nor around it")
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {config.out}: is a file, a folder is needed")
    check_cluster(config.cluster, config.cluster_config)
    return resolve_rules(config)


def run(config: SurveilConfig, archive: Archive, show: Show) -> Summary:
    """Bring an archive up to date with its inbox; call while holding its lock.

    Raises:
        UsageError: as `check`, or the folder is no archive.
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    rules = check(config)
    archive.create()
    archive.sweep()
    now = _now()
    summary = Summary(now)
    if config.retain_days is not None:
        summary.expired_days = expire(archive, config.retain_days, now)
    with ExitStack() as stack:
        work = _Work(config, archive, rules, summary, show, stack)
        work.finish_begun()
        work.do_new()
    finish(archive, summary.table())
    return summary


@dataclass
class _Work:
    """The batches of a run. A cluster is only started when there is one."""

    config: SurveilConfig
    archive: Archive
    rules: Rules
    summary: Summary
    show: Show
    stack: ExitStack
    ledger: Ledger = field(init=False)
    _connected: Client | None = None

    def __post_init__(self) -> None:
        rules = self.rules if self.config.reprocess else None
        self.ledger = Ledger(self.archive, rules, self.config.retry_failed)

    def finish_begun(self) -> None:
        """Finish what an earlier run left."""
        for batch in find_begun(self.archive, self.config, self.rules):
            logger.info("batch %d was begun before: going on with it", batch.folder.number)
            verify(batch, self._client(), self.config.unit_timeout_s)
            self._do(batch)

    def do_new(self) -> None:
        """Go through the inbox."""
        for files in self._blocks():
            self._do(begin(self.archive, self.config, self.rules, files, _now()))

    def _do(self, batch: SurveilBatch) -> None:
        job = BatchJob(batch, SURVEIL_STAGES)
        engine = Engine(self._client(), job, self.config.unit_timeout_s, batch.weight)
        run_batch(batch, engine, self.ledger, self.summary, self.show, self.config.wave_frames)
        publish(batch.folder)

    def _blocks(self) -> Iterator[list[InboxFile]]:
        """The files whose content is not known, in blocks for a batch."""
        block: list[InboxFile] = []
        size_bytes = 0
        for file in list_inbox(self.config.inbox, self.config.settle_seconds, self.summary.listing):
            if self.ledger.is_known(file):
                self.summary.known += not self.ledger.is_of_this_run(file)
                continue
            block.append(file)
            size_bytes += file.size_bytes
            if len(block) == FILES_PER_BATCH or size_bytes >= BYTES_PER_BATCH:
                yield block
                block, size_bytes = [], 0
        if block:
            yield block

    def _client(self) -> Client:
        if self._connected is None:
            config = self.config
            cluster = open_cluster(
                config.cluster, config.workers, config.cluster_config, config.worker_memory_gb
            )
            self._connected = self.stack.enter_context(connect(self.stack.enter_context(cluster)))
        return self._connected


def _now() -> datetime:
    """UTC, as tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)
