"""Find the weights that an argument of a command names."""

from __future__ import annotations

from pathlib import Path

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.models.weights import FILE_SUFFIXES, WeightsFile, find_weights, list_weights, weights_at


def named_weights(name_or_file: str) -> WeightsFile:
    """Return the weights of a name, or those of a file (`*.safetensors`) which was not imported.

    Raises:
        UsageError: there are none of that name, there is no such file, or it is a checkpoint of another
            program.
        WeightsError: the file is damaged.
    """
    file = weights_at(name_or_file)
    if file is not None:
        return file
    file = find_weights(name_or_file, "superres") or find_weights(name_or_file, "regressor")
    if file is None:
        if Path(name_or_file).is_file():
            raise UsageError(
                f"{name_or_file}: import it first: facepipe models import {name_or_file} --as NAME"
            )
        if name_or_file.endswith(FILE_SUFFIXES):
            raise UsageError(f"{name_or_file}: no such file")
        raise unknown("weights", name_or_file, [known.path.stem for known in list_weights()])
    return file
