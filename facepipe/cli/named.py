"""Weights as commands name them."""

from __future__ import annotations

from facepipe.registry import unknown
from facepipe.weights import WeightsFile, find_weights, list_weights, weights_at


def named_weights(name_or_file: str) -> WeightsFile:
    """Return the weights of a name, or those of a file (`*.safetensors`) which was not imported.

    Raises:
        UsageError: there are none of that name, or there is no such file.
        WeightsError: the file is damaged.
    """
    file = weights_at(name_or_file)
    if file is not None:
        return file
    file = find_weights(name_or_file, "superres") or find_weights(name_or_file, "regressor")
    if file is None:
        raise unknown("weights", name_or_file, [known.path.stem for known in list_weights()])
    return file
