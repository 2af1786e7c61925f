"""`facepipe bench`, `status` and `clean`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facepipe.bench.config import BenchConfig
from facepipe.cli.options import config_from, options_from
from facepipe.core.path_option import PATH


@click.command()
@options_from(BenchConfig)
@click.option("--config", "config_file", type=PATH, help="YAML file of these options.")
@click.option("--dry-run", is_flag=True, help="Only print counts, disk and time expected.")
def bench(config_file: Path | None, dry_run: bool, **options: Any) -> None:
    """Run the benchmark, or go on with it: ingest, degrade, restore, regress, score, report.

    Options on the command line win over those of --config. The same command continues a run that was
    interrupted, and does only what is missing.
    """
    from facepipe.pipeline.cluster import check_cluster

    config = config_from(BenchConfig, config_file, options)
    check_cluster(config.cluster, config.cluster_config)
    if dry_run:
        from facepipe.bench.dry_run import estimate

        click.echo(estimate(config))
        return
    run_bench(config)


def run_bench(config: BenchConfig) -> None:
    """Run a benchmark to its end, with progress on the terminal and the table at last."""
    from facepipe.bench.run import run_benchmark
    from facepipe.core.progress import progress

    store, counts = run_benchmark(config, progress)
    _conclude(store.path, counts)


def _conclude(path: Path, counts: dict[str, int]) -> None:
    from facepipe.report.page import write_report
    from facepipe.results.table import result_table_text

    click.echo(result_table_text(path))
    page = write_report(path)
    if counts["quarantined"]:
        click.echo(
            f"{counts['quarantined']} of {counts['candidates']} samples were quarantined; "
            f"`facepipe query {path} 'select * from failures'` names them"
        )
    click.echo(f"{counts['scores']} scores in {path / 'scores.parquet'}, report in {page}")


@click.command()
@click.argument("run", type=PATH)
@click.option("--verify", is_flag=True, help="Compare every file with its checksums, too.")
def status(run: Path, verify: bool) -> None:
    """Say how far a run is: units done in each stage. Of an archive: what is in it.

    With --verify, the exit status is 1 if anything is damaged or missing; the command that made the run
    then makes that again, also where the run was complete. Of an archive, tables and volumes are compared;
    images and meshes have no checksum and need only be there.
    """
    from facepipe.bench import audit, driver
    from facepipe.bench.run_store import RunStore
    from facepipe.core.errors import FacepipeError
    from facepipe.core.progress import progress
    from facepipe.surveil.archive import Archive

    if Archive(run).exists():
        _status_of_archive(run, verify)
        return
    store = RunStore(run)
    facts = store.read_run()
    state = facts["status"]
    if not driver.is_complete(store) and not store.is_in_use():
        state = "interrupted; the command that started it goes on from here"
    click.echo(f"{run}: {state}, run {facts['run_id'] or '(no id before ingest)'}")
    for stage, done, total in driver.progress_of(store):
        peak = facts.get("peak_mb", {}).get(stage)
        memory = f", at most {peak} MB in a worker" if peak else ""
        click.echo(f"  {stage:<8} {done:>7} of {total} units{memory}")
    if not verify:
        return
    with store.lock():
        with progress("verify", audit.steps(store)) as advance:
            damaged = audit.audit(store, advance)
        for what in damaged:
            click.echo(f"  damaged: {what}")
        if damaged:
            raise FacepipeError(
                f"{run}: {len(damaged)} damaged; repeat the command that made it, which makes them again"
            )
    click.echo("  every table and array is what was written")


def _status_of_archive(path: Path, verify: bool) -> None:
    from facepipe.core.errors import FacepipeError, RunConflictError
    from facepipe.core.progress import progress
    from facepipe.surveil import audit
    from facepipe.surveil.archive import Archive
    from facepipe.surveil.state import describe

    archive = Archive(path)
    for line in describe(archive):
        click.echo(line)
    if not verify:
        return
    if archive.is_in_use():
        raise RunConflictError(f"{path}: a run is working on it; verify the archive when it is over")
    with archive.lock():
        with progress("verify", audit.steps(archive)) as advance:
            damaged = list(audit.audit(archive, advance))
        for what in damaged:
            click.echo(f"  damaged: {what}")
        if damaged:
            raise FacepipeError(f"{path}: {len(damaged)} damaged; restore these files from a copy")
    click.echo("  every table and volume is what was written, every image and mesh is there")


@click.command()
@click.argument("run", type=PATH)
def clean(run: Path) -> None:
    """Delete a run's arrays and unit results; tables and report stay, also when the run is repeated.

    A run that is not complete starts its stages again.
    """
    from facepipe.bench.run_store import RunStore
    from facepipe.core.errors import UsageError
    from facepipe.surveil.archive import Archive

    if Archive(run).exists():
        raise UsageError(
            f"{run}: an archive; `facepipe surveil INBOX --out {run} --retain-days N` deletes its images, "
            "volumes and meshes that are older and keeps the table"
        )
    store = RunStore(run)
    store.read_run()
    with store.lock():
        store.delete_arrays()
        store.delete_array_results()
    click.echo(f"{run}: arrays deleted, tables kept")
