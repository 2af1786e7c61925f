"""`facepipe models`: list weights, judge them, and import those of other programs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from facepipe.cli.describe_weights import DESCRIBABLE
from facepipe.cli.models_evaluate import evaluate
from facepipe.cli.models_import import import_weights
from facepipe.cli.weights_names import named_weights
from facepipe.core.errors import WeightsError
from facepipe.core.path_option import PATH
from facepipe.core.plugins import installed_plugins
from facepipe.models.vrn.regressors import read_geometry
from facepipe.models.weights import (
    broken_weights,
    list_text,
    list_weights,
    listed,
    model_card,
    remove_weights,
    write_card,
)


@click.group()
def models() -> None:
    """List, show, import, remove and judge weights."""


models.add_command(evaluate)


@models.command("list", short_help="List weights and their most telling figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """List shipped and imported weights, with their most telling figures."""
    weights, unusable = [], list(broken_weights().values())
    for file in list_weights():
        try:
            weights.append(listed(file))
        except WeightsError as error:
            unusable.append(str(error))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in weights], indent=1))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(list_text(weights, width))
    for reason in unusable:
        click.echo(f"unusable: {reason}", err=True)


@models.command("plugins", short_help="List what installed packages bring.")
def plugins_command() -> None:
    """List installed methods, regressors, metrics and data sets of other packages; importing them tells."""
    usable, broken = installed_plugins()
    for source in usable:
        package = f"{source.package} {source.version}".rstrip()
        click.echo(f"{source.kind:<10} {source.name:<24} {package}, {source.licence}")
    for reason in broken:
        click.echo(f"unusable: {reason}", err=True)
    if not usable and not broken:
        click.echo("no installed package brings any; docs/plugins.md says how")


@models.command("show", short_help="Print the model card of weights.")
@click.argument("name", metavar="NAME|FILE")
@click.option("--write", is_flag=True, help="Also write the card beside the weights.")
def show_command(name: str, write: bool) -> None:
    """Print the model card of weights: what they are, how they were trained, and how good they are."""
    file = named_weights(name)
    click.echo(model_card(file), nl=False)
    if write:
        write_card(file)


@models.command("import", short_help="Take over a checkpoint of another program.")
@click.argument("file", type=PATH)
@click.option("--as", "name", required=True, help="Name to use it by.")
@click.option("--kind", type=click.Choice(["superres", "regressor"]), help="Refuse any other kind.")
@click.option("--describe", type=PATH, help=f"JSON with {', '.join(DESCRIBABLE)}.")
@click.option("--out", type=PATH, help="Folder to write to instead of the user's.")
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
@click.option(
    "--z-zero",
    type=float,
    help="Slice at which z = 0 in a regressor's volumes, where it was never published.",
)
def import_command(
    file: Path,
    name: str,
    kind: str | None,
    describe: Path | None,
    out: Path | None,
    overwrite: bool,
    z_zero: float | None,
    **usage: str | None,
) -> None:
    """Convert a checkpoint to facepipe's weights, without executing anything in it.

    FILE is a PyTorch checkpoint (a state dictionary or a pickled module, old format or new), safetensors, or
    the unguided VRN as a Torch7 file (.t7). Super-resolvers that facepipe does not know itself are taken over
    if spandrel recognises them. How a regressor is to be run (--input-range, --channel-order, --batch-norm)
    is taken from the scripts published with its checkpoint, unless it is given. Where z = 0 lies in its
    volumes was published with none: what is assumed is printed, and --z-zero says otherwise.
    """
    given = {key: value for key, value in usage.items() if value is not None}
    written = import_weights(file, name, kind, describe, out, overwrite=overwrite, usage=given, z_zero=z_zero)
    info = written.info
    what = f"{info.architecture}{f' x{info.scale}' if info.scale else ''}"
    run = "".join(f", {key.replace('_', ' ')} {value}" for key, value in info.usage.items())
    if info.kind == "regressor":
        assumed = " (assumed)" if "z_zero" in info.assumed else ""
        run += f", z_zero {read_geometry(written).z_zero:g}{assumed}"
    click.echo(f"{name}: {info.kind}, {what}{run}, {written.path}")


@models.command("remove", short_help="Delete imported weights.")
@click.argument("name")
def remove_command(name: str) -> None:
    """Delete imported weights and their card. Those that come with facepipe stay."""
    click.echo(f"{name}: removed, {remove_weights(name)}")
