"""The type of every option and argument that is a path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from facepipe.core.paths import absolute


class PathOption(click.Path):
    """A path of the command line, see `facepipe.core.paths`."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, context: click.Context | None
    ) -> Any:
        """Make it absolute, and check it as `click.Path` does."""
        return Path(os.fsdecode(super().convert(absolute(value), param, context)))


PATH = PathOption(path_type=Path)
