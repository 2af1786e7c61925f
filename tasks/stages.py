"""The stages of the benchmark as Prefect tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)

from facepipe.bench import driver
from facepipe.bench.config import BenchConfig
from facepipe.bench.run_store import RunStore
from facepipe.report.page import write_report
from facepipe.results import result_table_text

SECONDS_BETWEEN_UPDATES = 2.0
TABLE_WIDTH = 200


class _Relay(logging.Handler):
    """Hands records of the engine and of the workers to the run's log."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target = target

    def emit(self, record: logging.LogRecord) -> None:
        self.target.log(record.levelno, record.getMessage())


@contextmanager
def relayed_logs() -> Iterator[Any]:
    """Relay what facepipe logs, here and on the workers, to the run's log."""
    target = get_run_logger()
    relay = _Relay(target)
    source = logging.getLogger("facepipe")
    source.addHandler(relay)
    try:
        yield target
    finally:
        source.removeHandler(relay)


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


@task
def prepare(config: BenchConfig) -> RunStore:
    """Create the run's folder, or find the run to go on with."""
    store = driver.prepare(config)
    get_run_logger().info("run folder %s", store.path)
    return store


@task
def verify(store: RunStore, address: str) -> None:
    """Compare what an interrupted run left with its checksums."""
    if not driver.samples_to_verify(store):
        return
    with relayed_logs() as log:
        progress = Progress("verify", driver.samples_to_verify(store))
        result = driver.verify(store, address, progress)
        progress.publish(100.0)
        log.info("verify: %d shards, %.1f s of work", result.units, result.seconds)


@task
def ingest(store: RunStore, address: str) -> None:
    """Decode and check every image."""
    with relayed_logs() as log:
        progress = Progress("ingest", driver.candidates_to_do(store))
        result = driver.run_ingest(store, address, progress)
        progress.publish(100.0)
        log.info("ingest: %d images, %d rejected", result.samples, result.quarantined)


def _stage(name: str, store: RunStore, wave: range, address: str) -> None:
    with relayed_logs() as log:
        progress = Progress(name, driver.samples_to_do(store, name, wave))
        result = driver.run_stage(store, name, wave, address, progress)
        progress.publish(100.0)
        log.info(
            "%s: %d units, %.1f s of work, at most %.0f MB in a worker",
            name,
            result.units,
            result.seconds,
            result.peak_mb,
        )


@task
def degrade(store: RunStore, wave: range, address: str) -> None:
    """Make references, truth volumes and low-resolution images."""
    _stage("degrade", store, wave, address)


@task
def restore(store: RunStore, wave: range, address: str) -> None:
    """Run every super-resolution method."""
    _stage("restore", store, wave, address)


@task
def regress(store: RunStore, wave: range, address: str) -> None:
    """Regress volumes, on GPU workers where there are any."""
    _stage("regress", store, wave, address)


@task
def score(store: RunStore, wave: range, address: str) -> None:
    """Compute the metrics."""
    _stage("score", store, wave, address)


@task
def compact(store: RunStore) -> dict[str, int]:
    """Merge the parts into the tables."""
    counts = driver.finish(store)
    get_run_logger().info("%s", ", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts


@task
def report(store: RunStore) -> Path:
    """Write the report; show the result table and the link in Prefect."""
    with relayed_logs():
        page = write_report(store.path)
    table = result_table_text(store.path, width=TABLE_WIDTH, styled=False)
    create_markdown_artifact(
        f"```\n{table}\n```", key="facepipe-results", description=f"Result table of {store.path}"
    )
    create_link_artifact(
        page.resolve().as_uri(), link_text="report", key="facepipe-report", description=str(page)
    )
    return page
