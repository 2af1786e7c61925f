"""Checks before a training starts."""

from __future__ import annotations

from pathlib import Path

from facepipe.core.errors import UsageError
from facepipe.models.weights import FILE_SUFFIXES


def check_init(name_or_file: str) -> str:
    """Return what `--init` names, if it can be the name of weights or facepipe's own file.

    Raises:
        UsageError: it is a checkpoint of another program; the message says how to take it over.
    """
    path = Path(name_or_file)
    if path.suffix != ".safetensors" and (path.suffix in FILE_SUFFIXES or path.is_file()):
        raise UsageError(
            f"--init {name_or_file}: import it first: facepipe models import {name_or_file} --as NAME"
        )
    return name_or_file


def check_room(weights: Path, checkpoint: Path) -> None:
    """Check that a training would not write over the weights of another one.

    Args:
        weights: what it will write.
        checkpoint: its state, where it began earlier.

    Raises:
        UsageError: there are weights, and no state that they could come from.
    """
    if weights.exists() and not checkpoint.exists():
        raise UsageError(
            f"{weights}: there already, and no checkpoint of its training beside it; delete it, or choose "
            "another --as or --out"
        )
