"""`facepipe data annotate`: give photographs dense truth."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from facepipe.core.errors import UsageError
from facepipe.core.path_option import PATH, PathOption
from facepipe.core.progress import progress


@click.command("annotate", short_help="Fit heads to photographs.")
@click.argument("photos", type=PathOption(path_type=Path, exists=True))
@click.option(
    "--out", type=PathOption(path_type=Path, file_okay=False), required=True, help="Folder to write."
)
@click.option(
    "--profile",
    "views",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=2,
    default=0,
    show_default=True,
    metavar="[N]",
    help="Also N views of each photograph that are turned further to the side; 2 without a number.",
)
@click.option(
    "--person",
    default="",
    metavar="REGEX",
    help="What in a photograph's path tells who it shows: people, not files, are held out for tests.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one for each core.")
@click.option(
    "--cluster", default="local", show_default=True, help="'local', 'slurm', 'kubernetes' or an address."
)
@click.option("--cluster-config", type=PATH, help="What to ask Slurm or Kubernetes for.")
def annotate(
    photos: Path,
    out: Path,
    views: int,
    person: str,
    workers: int | None,
    cluster: str,
    cluster_config: Path | None,
) -> None:
    """Turn a folder of photographs into a data set with dense truth, in 300W-LP's layout.

    The largest face of each photograph gets a mesh of 468 points, and facepipe's head is fitted to them.
    Photographs without a face, and those whose mesh or fit cannot be believed, are left out; photos.parquet
    says why. An interrupted command goes on where it stopped.
    """
    from facepipe.lab.photos.annotate import AnnotationJob, annotate_folder

    job = AnnotationJob(photos, out, person, views)
    with progress("photographs", sum(len(unit.refs) for unit in job.units())) as advance:
        rows = annotate_folder(job, cluster, workers, cluster_config, advance=advance).to_pylist()
    taken = [row for row in rows if not row["reason"]]
    if not taken:
        raise UsageError(f"{photos}: none of its {len(rows)} photographs can be used, see {out}")
    turned = sum(row["turned_deg"] != 0 for row in taken)
    click.echo(f"{out}: {len(taken) - turned} of {len(rows) - turned} photographs, {turned} turned views")
    for reason, count in Counter(row["reason"] for row in rows if row["reason"]).most_common():
        click.echo(f"left out: {count} {reason}")
