"""`facepipe train`: train networks."""

from __future__ import annotations

import click

from facepipe.cli.train_superres import superres
from facepipe.cli.train_vrn import vrn


@click.group()
def train() -> None:
    """Train networks."""


train.add_command(superres)
train.add_command(vrn)
