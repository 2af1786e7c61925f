"""The steps of surveillance as Prefect tasks, and what its runs show."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from facepipe.surveil import steps
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.summary import Summary
from tasks.benchmark import SECONDS_BETWEEN_UPDATES
from tasks.shown import stage_task

logger = logging.getLogger("facepipe")

_batch, _wave = "batch {batch.folder.number}", "batch {batch.folder.number}, {wave}"

STEPS = steps.Steps(
    look=stage_task(f"look, {_batch}")(steps.look),
    detect=stage_task(f"detect, {_wave}")(steps.detect),
    restore=stage_task(f"restore, {_wave}")(steps.restore),
    regress=stage_task(f"regress, {_wave}")(steps.regress),
    export=stage_task(f"export, {_wave}")(steps.export),
    publish=stage_task(f"publish, {_batch}")(steps.publish),
)
"""The steps of a surveillance run, each a task."""


@stage_task("report")
def report(config: SurveilConfig, summary: Summary) -> None:
    """Show what the run came to."""
    for line in summary.lines():
        logger.info("%s", line)
    lines = "\n".join(summary.lines())
    create_markdown_artifact(
        f"```\n{lines}\n```\n\n`facepipe query {config.out} 'select * from faces'` shows the rows.",
        key="facepipe-surveillance",
        description=f"What went from {config.inbox} to {config.out}",
    )


class RunProgress:
    """A progress artifact that follows one stage after the other."""

    def __init__(self) -> None:
        self.artifact = create_progress_artifact(
            progress=0.0, key="facepipe-surveillance-progress", description="looking through the inbox"
        )

    @contextmanager
    def __call__(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a stage; yield what counts on."""
        done, updated = 0, time.monotonic()

        def advance(steps: int) -> None:
            nonlocal done, updated
            done += steps
            if time.monotonic() - updated >= SECONDS_BETWEEN_UPDATES:
                updated = time.monotonic()
                percent = min(100.0, 100.0 * done / max(1, total))
                update_progress_artifact(self.artifact, percent, f"{label}: {done} of {total}")

        yield advance
