"""Find the network in a checkpoint: in nested dictionaries, and behind the prefixes of wrappers.

torch.compile, DataParallel, averaged models and Lightning put a prefix in front of a network's names,
counters beside them, and often a second network. A part of a file is the wanted network when a detector of an
architecture says so; names and shapes decide, not the words of a prefix.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.models.weights.third_party import StateDicts, read_third_party
from facepipe.models.weights.weights_file import Tensors

Detector = Callable[[Tensors, str], Any]
"""From named tensors and the file's name to whatever describes the network; None, or a `WeightsError`, if it
is another one."""

FEWEST_TENSORS = 5
"""No known network has fewer; smaller parts of a file are not looked at."""
MAX_PARTS = 500
MAX_PREFIX_PARTS = 5
_PREFERRED = ("params_ema", "params")
"""Of these two, which BasicSR writes side by side, the averaged one is the result of the training."""


def find_network(path: Path, *rounds: Sequence[Detector]) -> Any:
    """Return what a detector says of the one network in a file.

    Args:
        path: a checkpoint of another program, see `read_third_party`.
        rounds: detectors; those of a later round are asked only if all before found nothing anywhere.

    Raises:
        WeightsError: the file cannot be read, no part of it is a known network, or several different ones
            are.
    """
    states = read_third_party(path)
    refused: list[tuple[int, WeightsError]] = []
    for detectors in rounds:
        found = _without_doubles(_fitting(states, detectors, str(path), refused))
        if len(found) == 1:
            return next(iter(found.values()))[1]
        if found:
            names = ", ".join(repr(place) for place in found)
            raise WeightsError(
                f"{path}: several different networks fit: {names}; save the one that is wanted alone: "
                "torch.save(network.state_dict(), 'weights.pth')"
            )
    if refused:
        raise max(refused, key=lambda one: one[0])[1]
    count = sum(len(state) for state in states.values())
    some = ", ".join(sorted(key for state in states.values() for key in state)[:3])
    raise WeightsError(
        f"{path}: its {count} tensors ({some}, ...) belong to no network that facepipe or spandrel knows"
    )


def _fitting(
    states: StateDicts, detectors: Sequence[Detector], name: str, refused: list[tuple[int, WeightsError]]
) -> Iterator[tuple[str, Tensors, Any]]:
    """Parts that detectors take, with what they say; of a part that fits, no smaller part is tried.

    Why parts were refused is added to `refused`, with the number of their tensors.
    """
    waiting = [(place, state, 0) for place, state in states.items()]
    for place, part, level in itertools.islice(_growing(waiting), MAX_PARTS):
        try:
            result = next(filter(None, (detect(part, name) for detect in detectors)), None)
        except WeightsError as error:
            result = None
            refused.append((len(part), error))
        if result is not None:
            yield place, part, result
        elif level < MAX_PREFIX_PARTS:
            waiting += [
                (f"{place}: {prefix}" if not level else f"{place}{prefix}", inner, level + 1)
                for prefix, inner in _by_prefix(part).items()
            ]


def _growing(waiting: list[Any]) -> Iterator[Any]:
    while waiting:
        yield waiting.pop(0)


def _by_prefix(part: Tensors) -> dict[str, dict[str, NDArray[Any]]]:
    """Parts whose names begin alike up to their first dot, without it."""
    groups: dict[str, dict[str, NDArray[Any]]] = {}
    for key, tensor in part.items():
        prefix, dot, rest = key.partition(".")
        if dot:
            groups.setdefault(f"{prefix}.", {})[rest] = tensor
    return {prefix: group for prefix, group in groups.items() if len(group) >= FEWEST_TENSORS}


def _without_doubles(found: Iterator[tuple[str, Tensors, Any]]) -> dict[str, tuple[Tensors, Any]]:
    """Networks by place; of equal ones the first, of an averaged and a raw one the averaged."""
    kept: dict[str, tuple[Tensors, Any]] = {}
    for place, part, result in found:
        if not any(_equal(part, other) for other, _ in kept.values()):
            kept[place] = part, result
    averaged, raw = _PREFERRED
    return {place: one for place, one in kept.items() if place != raw or averaged not in kept}


def _equal(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)
