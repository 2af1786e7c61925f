"""List weights, one line each: kind, size and most telling figures."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from safetensors import SafetensorError, safe_open

from facepipe.core.errors import WeightsError
from facepipe.models.weights.figures import telling_figures
from facepipe.models.weights.info import Kind
from facepipe.models.weights.weights_file import WeightsFile

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_GAP = "  "
_HASH_CHARACTERS = 12


@dataclass(frozen=True)
class Listed:
    """What a list says of a weights file.

    Attributes:
        name: to use it by.
        kind: 'superres' or 'regressor'.
        architecture: its network class.
        scale: enlargement factor, None for a regressor.
        parameters: numbers that training sets; statistics of batch norm are none.
        size_bytes: of the file.
        sha256: of the file.
        licence: SPDX identifier or a sentence, '' where unknown.
        measured: the one or two most telling figures, '' where none were measured.
        origin: 'shipped' or 'imported'.
        trained: False for random values.
    """

    name: str
    kind: Kind
    architecture: str
    scale: int | None
    parameters: int
    size_bytes: int
    sha256: str
    licence: str
    measured: str
    origin: str
    trained: bool


def listed(file: WeightsFile) -> Listed:
    """Describe a weights file for a list.

    Raises:
        WeightsError: it is damaged.
    """
    info = file.info
    return Listed(
        name=file.path.stem,
        kind=info.kind,
        architecture=info.architecture,
        scale=info.scale,
        parameters=count_parameters(file),
        size_bytes=file.path.stat().st_size,
        sha256=file.sha256,
        licence=info.licence,
        measured=telling_figures(info.figures) if info.trained else "never trained",
        origin="shipped" if file.shipped else "imported",
        trained=info.trained,
    )


def count_parameters(file: WeightsFile) -> int:
    """Count the numbers in a weights file that training sets, from the shapes in its header.

    Raises:
        WeightsError: it is damaged.
    """
    try:
        with safe_open(file.path, "numpy") as tensors:
            names = [name for name in tensors.keys() if not name.endswith(_BUFFERS)]  # noqa: SIM118
            return sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file.path}: not a readable safetensors file ({error})") from error


def list_text(weights: Sequence[Listed], width: int | None = None) -> str:
    """Weights as a table, or as a paragraph each where the table is wider than a terminal.

    Args:
        weights: what to list.
        width: characters a line may have; None for as many as it takes.
    """
    heads = ("name", "kind", "architecture", "scale", "parameters", "size", "sha256", "from", "licence")
    rows = [(*heads, "measured"), *(_cells(one) for one in weights)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        _GAP.join(f"{cell:<{column}}" for cell, column in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if width is None or max(map(len, lines)) <= width:
        return "\n".join(lines)
    return "\n".join(_paragraph(one, width) for one in weights)


def _cells(one: Listed) -> tuple[str, ...]:
    return (
        one.name,
        one.kind,
        one.architecture,
        f"x{one.scale}" if one.scale else "-",
        f"{one.parameters:,}",
        f"{one.size_bytes / 1e6:.2f} MB",
        one.sha256[:_HASH_CHARACTERS],
        one.origin,
        one.licence or "licence unknown",
        one.measured or "-",
    )


def _paragraph(one: Listed, width: int) -> str:
    name, kind, architecture, scale, parameters, size, sha256, origin, licence, measured = _cells(one)
    parts = [
        f"{kind} {architecture}{f' {scale}' if one.scale else ''}",
        measured if one.measured else "not measured",
        f"{parameters} parameters",
        size,
        licence,
        origin,
        sha256,
    ]
    lines = [name]
    for part in parts:
        if lines[-1] != name and len(lines[-1]) + len(part) + 2 <= width:
            lines[-1] += f", {part}"
        else:
            lines += textwrap.wrap(part, width, initial_indent=_GAP, subsequent_indent=_GAP)
    return "\n".join(lines)
