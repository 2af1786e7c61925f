"""`facepipe data`: look at data sets and make them."""

from __future__ import annotations

import click

from facepipe.cli.annotate import annotate
from facepipe.cli.inspect import inspect
from facepipe.cli.synthesize import synthesize


@click.group()
def data() -> None:
    """Inspect data sets, synthesize faces, annotate photographs."""


data.add_command(inspect)
data.add_command(synthesize)
data.add_command(annotate)
