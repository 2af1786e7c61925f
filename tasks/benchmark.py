"""The stages of the benchmark as Prefect tasks."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from facepipe.bench import driver
from facepipe.bench.config import BenchConfig
from facepipe.bench.run_store import RunStore
from facepipe.pipeline.executor import StageResult
from facepipe.report.page import write_report
from facepipe.results.table import result_table_text
from tasks.shown import stage_task

logger = logging.getLogger("facepipe")

SECONDS_BETWEEN_UPDATES = 2.0
TABLE_WIDTH = 200


class Progress:
    """A progress artifact that follows the units of a stage."""

    def __init__(self, stage: str, total: int) -> None:
        self.total = max(1, total)
        self.done = 0
        self.updated = time.monotonic()
        self.artifact = create_progress_artifact(
            progress=0.0, key=f"facepipe-{stage}", description=f"{stage}: {total} samples to do"
        )

    def __call__(self, _: Any, report: Any) -> None:
        """Count a finished unit in."""
        self.done += report.samples
        if time.monotonic() - self.updated >= SECONDS_BETWEEN_UPDATES:
            self.publish(100.0 * self.done / self.total)

    def publish(self, percent: float) -> None:
        """Show a percentage."""
        self.updated = time.monotonic()
        update_progress_artifact(self.artifact, progress=min(100.0, percent))


def _done(stage: str, progress: Progress, result: StageResult) -> None:
    progress.publish(100.0)
    logger.info(
        "%s: %d units, %d samples, %d quarantined, %.1f s of work, at most %.0f MB in a worker",
        stage,
        result.units,
        result.samples,
        result.quarantined,
        result.seconds,
        result.peak_mb,
    )


@stage_task("prepare")
def prepare(config: BenchConfig) -> RunStore:
    """Create the run's folder, or find the run to go on with."""
    store = driver.prepare(config)
    logger.info("run folder %s", store.path)
    return store


@stage_task("verify")
def verify(store: RunStore, address: str) -> None:
    """Compare what an interrupted run left with its checksums."""
    if samples := driver.samples_to_verify(store):
        progress = Progress("verify", samples)
        _done("verify", progress, driver.verify(store, address, progress))


@stage_task("ingest")
def ingest(store: RunStore, address: str) -> None:
    """Decode and check every image."""
    progress = Progress("ingest", driver.candidates_to_do(store))
    _done("ingest", progress, driver.run_ingest(store, address, progress))


def _run(stage: str, store: RunStore, shards: range, address: str) -> None:
    progress = Progress(stage, driver.samples_to_do(store, stage, shards))
    _done(stage, progress, driver.run_stage(store, stage, shards, address, progress))


@stage_task("degrade, shards {shards.start} to {shards.stop}")
def degrade(store: RunStore, shards: range, address: str) -> None:
    """Make references, truth volumes and low-resolution images."""
    _run("degrade", store, shards, address)


@stage_task("restore, shards {shards.start} to {shards.stop}")
def restore(store: RunStore, shards: range, address: str) -> None:
    """Run every super-resolution method."""
    _run("restore", store, shards, address)


@stage_task("regress, shards {shards.start} to {shards.stop}")
def regress(store: RunStore, shards: range, address: str) -> None:
    """Regress volumes, on GPU workers where there are any."""
    _run("regress", store, shards, address)


@stage_task("score, shards {shards.start} to {shards.stop}")
def score(store: RunStore, shards: range, address: str) -> None:
    """Compute the metrics."""
    _run("score", store, shards, address)


@stage_task("compact")
def compact(store: RunStore) -> dict[str, int]:
    """Merge the results of units into the tables."""
    counts = driver.finish(store)
    logger.info("%s", ", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts


@stage_task("report")
def report(store: RunStore) -> Path:
    """Write the report; show the result table and the link in Prefect."""
    page = write_report(store.path)
    table = result_table_text(store.path, width=TABLE_WIDTH, styled=False)
    create_markdown_artifact(
        f"```\n{table}\n```", key="facepipe-results", description=f"Result table of {store.path}"
    )
    create_link_artifact(
        page.resolve().as_uri(), link_text="report", key="facepipe-report", description=str(page)
    )
    return page
