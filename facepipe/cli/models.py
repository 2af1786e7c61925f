"""`facepipe models`: list weights, and import those of other programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from facepipe.cli.evaluate import evaluate
from facepipe.errors import UsageError, WeightsError
from facepipe.superres.methods import known_methods
from facepipe.superres.recognise import recognise_superres
from facepipe.vrn.recognise import recognise_regressor
from facepipe.vrn.regressors import known_regressors
from facepipe.weights import (
    Tensors,
    WeightsFile,
    WeightsInfo,
    broken_weights,
    check_name,
    imported_folder,
    is_weights,
    list_weights,
    load_tensors,
    model_card,
    open_weights,
    read_foreign,
    save_weights,
    shipped_folder,
)

DESCRIBABLE = ("degradation", "licence", "source", "training", "figures", "geometry")
"""Fields that `--describe` may set: what no file format carries."""


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
def import_command(
    file: Path, name: str, kind: str | None, describe: Path | None, out: Path | None, overwrite: bool
) -> None:
    """Convert a checkpoint to facepipe's weights, without executing anything in it.

    FILE is a PyTorch checkpoint (a state dictionary or a pickled module, old format or new) or safetensors.
    """
    written = import_weights(file, name, kind, describe, out, overwrite=overwrite)
    info = written.info
    what = f"{info.architecture}{f' x{info.scale}' if info.scale else ''}"
    click.echo(f"{name}: {info.kind}, {what}, {written.path}")


def import_weights(
    file: Path,
    name: str,
    kind: str | None = None,
    describe: Path | None = None,
    out: Path | None = None,
    *,
    overwrite: bool = False,
) -> WeightsFile:
    """Convert a checkpoint to facepipe's weights and write the model card beside them.

    Args:
        file: the checkpoint.
        name: the name that the weights get.
        kind: 'superres' or 'regressor' to refuse any other, None to accept both.
        describe: a JSON file that sets fields which no file format carries, see `DESCRIBABLE`.
        out: the folder to write to, None for the user's.
        overwrite: whether existing weights of that name may be replaced.

    Raises:
        UsageError: the name is taken or not allowed, or the description is not understood.
        WeightsError: the file is damaged, unsafe, of another kind or of an unknown architecture.
    """
    target = (out or imported_folder()) / f"{check_name(name)}.safetensors"
    _check_free(name, target, overwrite=overwrite, own_folder=out is None)
    tensors, info = _recognised(file)
    if kind not in (None, info.kind):
        raise WeightsError(f"{file}: a {info.kind} of architecture {info.architecture}, not a {kind}")
    for key, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise WeightsError(f"{file}: tensor {key!r} holds values that are not finite")
    about = _description(describe)
    if "geometry" in about:
        about["geometry"] = {**(info.geometry or {}), **about["geometry"]}
    written = save_weights(target, tensors, replace(info, name=name, **about))
    target.with_suffix(".md").write_text(model_card(written), encoding="utf-8")
    return written


def _check_free(name: str, target: Path, *, overwrite: bool, own_folder: bool) -> None:
    if target.exists() and not overwrite:
        raise UsageError(f"--as {name}: {target} exists; use another name, or --replace")
    taken = {*known_methods(), *known_regressors()} if own_folder else set()
    if name in taken and (not target.exists() or (shipped_folder() / target.name).exists()):
        raise UsageError(f"--as {name}: facepipe itself uses this name; use another one")


def _recognised(file: Path) -> tuple[Tensors, WeightsInfo]:
    if is_weights(file):
        return load_tensors(file), open_weights(file).info
    tensors = read_foreign(file)
    for recognise in (recognise_superres, recognise_regressor):
        found = recognise(tensors, str(file))
        if found is not None:
            return found
    some = ", ".join(sorted(tensors)[:3])
    raise WeightsError(
        f"{file}: its {len(tensors)} tensors ({some}, ...) belong to no network that facepipe knows; "
        f"for super-resolution, '--methods file:{file}' runs whatever spandrel recognises"
    )


def _description(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--describe {path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict) or not values.keys() <= set(DESCRIBABLE):
        raise UsageError(f"--describe {path}: expected an object with keys among {', '.join(DESCRIBABLE)}")
    for key, value in values.items():
        expected = dict if key in ("training", "figures", "geometry") else str
        if not isinstance(value, expected):
            raise UsageError(
                f"--describe {path}: {key} should be {'an object' if expected is dict else 'text'}"
            )
    return values
