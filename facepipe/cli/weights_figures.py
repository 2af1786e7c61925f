"""Print the figures of an evaluation, and write them into weights and their cards."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import click
from click.core import ParameterSource

from facepipe import __version__
from facepipe.core.errors import UsageError
from facepipe.metrics.intervals import Estimate, plain, text
from facepipe.models.weights import COMMANDS, WeightsFile, load_tensors, save_weights, write_card

Tables = Mapping[str, Mapping[str, Estimate]]
"""Means by figure, by what they are over."""


@dataclass(frozen=True)
class Measured:
    """Weights and what was measured of them."""

    file: WeightsFile
    tables: Tables


def refuse_recording(file: WeightsFile, title: str | None) -> None:
    """Refuse to write figures into weights that ship with facepipe.

    Raises:
        UsageError: there is a title, and the weights ship.
    """
    if title is not None and file.shipped:
        raise UsageError(f"--record: {file.info.name} ships with facepipe; name the file of other weights")


def record_figures(measured: Measured, title: str | None, command: str) -> None:
    """Write figures and the command that measured them into a weights file and its card.

    Args:
        measured: what was measured; earlier figures of the same title and name are replaced.
        title: what the figures are about, None to write nothing.
        command: as the card shall show it.
    """
    if title is None:
        return
    file = measured.file
    figures = {f"{title}, {name}": text(means) for name, means in measured.tables.items()}
    commands = {**file.info.figures.get(COMMANDS, {}), title: f"{command} (facepipe {__version__})"}
    info = replace(file.info, figures={**file.info.figures, **figures, COMMANDS: commands})
    write_card(save_weights(file.path, load_tensors(file.path), info))


def command_of(context: click.Context, name: str) -> str:
    """The command of a context as a card shows it: weights by name, data by the last part of their path."""
    words = ["facepipe models evaluate", name]
    for option, value in context.params.items():
        given = context.get_parameter_source(option) is not ParameterSource.DEFAULT
        if option in ("name", "record", "as_json") or not given:
            continue
        shown = Path(str(value)).name if option == "dataset" else str(value)
        words.append(f"--{option.replace('_', '-')} {shlex.quote(shown)}")
    return " ".join(words)


def show(tables: Tables, *, as_json: bool) -> None:
    """Print figures as text or as JSON."""
    if as_json:
        click.echo(json.dumps({name: plain(means) for name, means in tables.items()}, indent=1))
    else:
        click.echo("\n\n".join(_text(name, means) for name, means in tables.items()))


def _text(name: str, means: Mapping[str, Estimate]) -> str:
    lines = [
        f"  {figure:<22} {mean.mean:8.4f}   {mean.low:.4f} to {mean.high:.4f}   {mean.n} images"
        for figure, mean in means.items()
    ]
    return "\n".join([name, *lines])
