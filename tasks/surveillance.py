"""Surveillance as a Prefect task, and what its runs show."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.driver import run
from facepipe.surveil.summary import Summary
from tasks.stages import SECONDS_BETWEEN_UPDATES, relayed_logs


@task
def process(config: SurveilConfig) -> Summary:
    """Bring the archive up to date with the inbox; call while holding the archive's lock."""
    with relayed_logs() as log:
        summary = run(config, Archive(config.out), _Progress())
        for line in summary.lines():
            log.info("%s", line)
    return summary


@task
def report(config: SurveilConfig, summary: Summary) -> None:
    """Show what the run came to."""
    lines = "\n".join(summary.lines())
    create_markdown_artifact(
        f"```\n{lines}\n```\n\n`facepipe query {config.out} 'select * from faces'` shows the rows.",
        key="facepipe-surveillance",
        description=f"What went from {config.inbox} to {config.out}",
    )


class _Progress:
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
