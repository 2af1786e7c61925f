"""`facepipe models`: list weights, judge them, and import those of other programs."""

from __future__ import annotations

from pathlib import Path

import click

from facepipe.cli.evaluate import evaluate
from facepipe.cli.importing import DESCRIBABLE, import_weights
from facepipe.weights import broken_weights, list_weights


@click.group()
def models() -> None:
    """List, import and judge weights."""


models.add_command(evaluate)


@models.command("list")
def list_command() -> None:
    """List shipped and imported weights."""
    rows = [
        (
            file.path.stem,
            str(file.info.kind),
            file.info.architecture,
            f"x{file.info.scale}" if file.info.scale else "-",
            f"{file.path.stat().st_size / 1e6:.2f} MB",
            "shipped" if file.shipped else "imported",
            file.info.licence or "licence unknown",
        )
        for file in list_weights()
    ]
    rows.insert(0, ("name", "kind", "architecture", "scale", "size", "from", "licence"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
    for reason in broken_weights().values():
        click.echo(f"unusable: {reason}", err=True)


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "name", required=True, help="Name to use it by.")
@click.option("--kind", type=click.Choice(["superres", "regressor"]), help="Refuse any other kind.")
@click.option("--describe", type=click.Path(path_type=Path), help=f"JSON with {', '.join(DESCRIBABLE)}.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write to instead of the user's.")
@click.option("--replace", "overwrite", is_flag=True, help="Replace imported weights of that name.")
@click.option(
    "--input-range",
    type=click.Choice(["-1..1", "0..1", "0..255", "128ths"]),
    help="What a regressor's input spans; 128ths: (grey - 128) / 128.",
)
@click.option("--channel-order", type=click.Choice(["rgb", "bgr"]), help="Of a regressor's input.")
@click.option(
    "--batch-norm",
    type=click.Choice(["running", "per-image"]),
    help="Statistics that a regressor normalises by: those of training, or each image's own.",
)
def import_command(
    file: Path,
    name: str,
    kind: str | None,
    describe: Path | None,
    out: Path | None,
    overwrite: bool,
    **usage: str | None,
) -> None:
    """Convert a checkpoint to facepipe's weights, without executing anything in it.

    FILE is a PyTorch checkpoint (a state dictionary or a pickled module, old format or new), safetensors, or
    the unguided VRN as a Torch7 file (.t7). How a regressor is to be run (--input-range, --channel-order,
    --batch-norm) is taken from the scripts published with its checkpoint, unless it is given.
    """
    given = {key: value for key, value in usage.items() if value is not None}
    written = import_weights(file, name, kind, describe, out, overwrite=overwrite, usage=given)
    info = written.info
    what = f"{info.architecture}{f' x{info.scale}' if info.scale else ''}"
    run = "".join(f", {key.replace('_', ' ')} {value}" for key, value in info.usage.items())
    click.echo(f"{name}: {info.kind}, {what}{run}, {written.path}")
