"""`facepipe data inspect`: say what is in a data set."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from facepipe.core.errors import FacepipeError
from facepipe.core.path_option import PATH
from facepipe.core.progress import progress
from facepipe.datasets.catalog import KINDS, open_dataset
from facepipe.datasets.inspection import as_text, inspect_dataset


@click.command("inspect")
@click.argument("dataset")
@click.option("--kind", default="auto", help=f"Kind of data set: auto, {', '.join(KINDS)}.  [default: auto]")
@click.option(
    "--model",
    type=PATH,
    help="Folder or file of the Basel face model; by default $FACEPIPE_HOME/models is looked into.",
)
@click.option("--subsets", default="", help="Look at these subsets only, separated by commas.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def inspect(dataset: str, kind: str, model: Path | None, subsets: str, as_json: bool) -> None:
    """Say what is in DATASET: a folder, a zip archive, or 'sample'.

    Every image is decoded once and every .mat is checked; nothing is written.
    """
    wanted = [name.strip() for name in subsets.split(",") if name.strip()]
    opened = open_dataset(dataset, kind, subsets=wanted, model=model)
    refs = opened.refs()
    with progress("inspect", len(refs)) as advance:
        found = inspect_dataset(opened, refs, os.cpu_count() or 1, advance)
    click.echo(json.dumps(found, default=vars, indent=2) if as_json else as_text(found))
    if not found.sound:
        raise FacepipeError(
            f"{dataset}: none of the {found.images} images can be used; see the problems above"
        )
