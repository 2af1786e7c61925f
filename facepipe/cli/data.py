"""`facepipe data`: look at data sets and make them."""

from __future__ import annotations

import click

from facepipe.cli.inspect import inspect
from facepipe.cli.synthesize import synthesize


@click.group()
def data() -> None:
    """Inspect data sets, synthesize faces."""


data.add_command(inspect)
data.add_command(synthesize)
