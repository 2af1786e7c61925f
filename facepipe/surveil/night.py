"""State that the steps of a run share: its batches, its cluster, the archive."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import Any

from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import connect, open_cluster
from facepipe.pipeline.executor import Engine
from facepipe.pipeline.job import Job
from facepipe.surveil.archive import Archive
from facepipe.surveil.batch import begin, find_begun
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.inbox import InboxFile, list_inbox
from facepipe.surveil.ledger import Ledger
from facepipe.surveil.rules import Rules
from facepipe.surveil.spec import SurveilUnit
from facepipe.surveil.stage_io import SURVEIL_STAGES
from facepipe.surveil.summary import Summary
from facepipe.surveil.surveil_batch import SurveilBatch

logger = logging.getLogger("facepipe")

FILES_PER_BATCH = 256
BYTES_PER_BATCH = 2_000_000_000
"""A batch's rows appear together: it ends when either is reached, so that long videos do not keep the rows of
hundreds of other files waiting."""

Show = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Opens a display of progress: (what is counted, how many there are) -> a function that counts on."""


class Night:
    """A run over an inbox. A cluster is only started when there is a batch.

    Args:
        config: of the run.
        archive: its rows go there.
        rules: what determines the rows.
        summary: what the run comes to.
        show: opens displays of progress.
        stack: closes the cluster in the end.

    Attributes:
        ledger: which contents and files are done.
    """

    def __init__(
        self,
        config: SurveilConfig,
        archive: Archive,
        rules: Rules,
        summary: Summary,
        show: Show,
        stack: ExitStack,
    ) -> None:
        self.config, self.summary, self.show = config, summary, show
        self.ledger = Ledger(archive, rules if config.reprocess else None, config.retry_failed)
        self._archive, self._rules, self._stack = archive, rules, stack
        self._address = ""
        self._client: Any = None

    def batches(self) -> Iterator[SurveilBatch]:
        """What an earlier run left, and then the files of the inbox whose content is not known."""
        for batch in find_begun(self._archive, self.config, self._rules):
            logger.info("batch %d was begun before: going on with it", batch.folder.number)
            yield batch
        for files in self._blocks():
            yield begin(self._archive, self.config, self._rules, files, now())

    def engine(self, batch: SurveilBatch) -> Engine[SurveilUnit]:
        """What runs the units of a batch."""
        return self.engine_of(BatchJob(batch, SURVEIL_STAGES), batch.weight)

    def engine_of(self, job: Job[Any], weigh: Callable[[SurveilUnit], int]) -> Engine[SurveilUnit]:
        """What runs the units of a job, on the cluster of this run: connected anew where it was lost."""
        config = self.config
        if not self._address:
            cluster = open_cluster(
                config.cluster, config.workers, config.cluster_config, config.worker_memory_gb
            )
            self._address = self._stack.enter_context(cluster)
        if self._client is None or self._client.status == "closed":
            self._client = self._stack.enter_context(connect(self._address))
        return Engine(self._client, job, config.unit_timeout_s, weigh)

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


def now() -> datetime:
    """UTC, as tables keep it."""
    return datetime.now(UTC).replace(tzinfo=None)
