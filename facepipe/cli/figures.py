"""Figures of networks: printed, and written into weights and their cards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import click

from facepipe.errors import UsageError
from facepipe.metrics.intervals import Mean, plain, text
from facepipe.weights import WeightsFile, load_tensors, save_weights, write_card

Tables = Mapping[str, Mapping[str, Mean]]
"""Means by figure, by what they are over."""


def refuse_recording(file: WeightsFile, title: str | None) -> None:
    """Refuse to write figures into weights that ship with facepipe.

    Raises:
        UsageError: there is a title, and the weights ship.
    """
    if title is not None and file.shipped:
        raise UsageError(f"--record: {file.info.name} ships with facepipe; name the file of other weights")


def record_figures(file: WeightsFile, title: str | None, tables: Tables) -> None:
    """Write figures into a weights file and its card, if there is a title for them."""
    if title is None:
        return
    figures = {f"{title}, {name}": text(means) for name, means in tables.items()}
    info = replace(file.info, figures={**file.info.figures, **figures})
    write_card(save_weights(file.path, load_tensors(file.path), info))


def show(tables: Tables, *, as_json: bool) -> None:
    """Print figures as text or as JSON."""
    if as_json:
        click.echo(json.dumps({name: plain(means) for name, means in tables.items()}, indent=1))
    else:
        click.echo("\n\n".join(_text(name, means) for name, means in tables.items()))


def _text(name: str, means: Mapping[str, Mean]) -> str:
    lines = [
        f"  {figure:<22} {mean.value:8.4f}   {mean.low:.4f} to {mean.high:.4f}   {mean.images} images"
        for figure, mean in means.items()
    ]
    return "\n".join([name, *lines])
