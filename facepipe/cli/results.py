"""`facepipe reconstruct`, `facepipe query` and `facepipe report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facepipe.core.path_option import PATH


@click.command()
@click.argument("photos", nargs=-1, required=True, metavar="PHOTO...", type=PATH)
@click.option("--out", required=True, type=PATH, help="Folder for meshes and previews.")
@click.option(
    "--format", "formats", default="glb", show_default=True, help="glb, ply, obj, stl; several by commas."
)
@click.option("--regressor", default="vrn-compact", show_default=True, help="The network that makes volumes.")
@click.option(
    "--method", default="compact-camera", show_default=True, help="What restores faces below 128 px."
)
@click.option(
    "--crop",
    type=click.Choice(["auto", "face", "full"]),
    default="auto",
    show_default=True,
    help="The part to take: the most prominent face, the full picture, or auto: the face if there is one.",
)
@click.option(
    "--unit",
    type=click.Choice(["crop", "mm"]),
    default="crop",
    show_default=True,
    help="One unit of mesh files: the side of the crop, or mm (GLB: m) with life size, an estimate: as if "
    "the eyes were 63 mm apart, the mean of adults.",
)
@click.option("--all-faces", is_flag=True, help="Every face of a photo: <name>-face1, -face2, ...")
@click.pass_context
def reconstruct(
    context: click.Context, /, photos: tuple[Path, ...], out: Path, formats: str, **options: Any
) -> None:
    """Turn photos into coloured meshes: <name>.glb and <name>_preview.png in --out.

    With --crop full the face should fill most of the picture, which is padded to a square. A photo that
    cannot be used is named and the others go on; the exit status is then 1.
    """
    from facepipe.reconstruct.photos import ReconstructOptions, reconstruct_photos

    wanted = tuple(dict.fromkeys(name.strip().lower() for name in formats.split(",") if name.strip()))
    if not wanted:
        raise click.UsageError("--format: name at least one of glb, ply, obj, stl")
    failed = 0
    for outcome in reconstruct_photos(photos, out, ReconstructOptions(wanted, **options)):
        if outcome.error is None:
            note = f" ({outcome.note})" if outcome.note else ""
            click.echo(f"{outcome.photo}: {', '.join(str(path) for path in outcome.files)}{note}")
        else:
            failed += 1
            click.echo(f"{outcome.photo}: not used: {outcome.error}", err=True)
    if failed:
        click.echo(f"{failed} of {len(photos)} photos could not be used", err=True)
        context.exit(1)


@click.command()
@click.argument("run", type=PATH)
@click.argument("sql")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of objects.")
def query(run: Path, sql: str, as_csv: bool, as_json: bool) -> None:
    """Ask the tables of RUN, a run, an archive or a folder of them, a question in SQL.

    The views are scores, samples, failures and runs of benchmarks, faces, files and stages of
    surveillance archives. Nothing is written and no other file is read.

    Example: facepipe query runs/demo "select method, avg(ref_iou) from scores group by method"
    """
    from facepipe.results.query import ask

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other: choose one")
    answer = ask(run, sql)
    if as_csv:
        click.echo(answer.as_csv(), nl=False)
    elif as_json:
        click.echo(answer.as_json())
    else:
        click.echo(answer.as_text())


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--axis",
    type=click.Choice(["px", "interocular"]),
    default="px",
    show_default=True,
    help="What the charts show metrics against: side of the image, or pixels between the eyes in it.",
)
def report(run: Path, axis: str) -> None:
    """Write RUN/report/index.html: one page with table, plots, faces and meshes to turn."""
    from facepipe.report.page import write_report

    click.echo(str(write_report(run, by_eyes=axis == "interocular")))
