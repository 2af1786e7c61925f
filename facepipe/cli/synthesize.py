"""`facepipe data synthesize`: make a data set of rendered faces."""

from __future__ import annotations

from pathlib import Path

import click

from facepipe.core.path_option import PathOption
from facepipe.core.progress import progress


@click.command("synthesize", short_help="Render faces with exact truth.")
@click.option("--n", "count", type=click.IntRange(min=1), required=True, help="How many faces.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Which faces.")
@click.option(
    "--out", type=PathOption(path_type=Path, file_okay=False), required=True, help="Folder to write."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one for each core.")
def synthesize(count: int, seed: int, out: Path, workers: int | None) -> None:
    """Render faces with exact truth into a folder of 300W-LP's layout.

    The same seed gives the same faces; more of them continue the series, and an interrupted command goes on
    where it stopped.
    """
    from facepipe.lab.faces.synthesize import synthesize as make

    with progress("faces", count) as advance:
        made = make(out, count, seed, workers, advance)
    click.echo(f"{out}: {count} faces of seed {seed}, {made} of them made now")
