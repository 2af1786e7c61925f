"""The description inside a weights file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from facepipe.core.errors import UsageError, WeightsError

Kind = Literal["superres", "regressor"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RESERVED = ("all", "none", "reference")
FILE_SUFFIXES = (".safetensors", ".pth", ".pt", ".t7", ".bin", ".ckpt")
"""What ends like these is taken for a file, never for a name."""


@dataclass(frozen=True)
class WeightsInfo:
    """What a weights file says about itself.

    Attributes:
        name: the name under which the network is used.
        kind: 'superres' or 'regressor'.
        architecture: which network class the tensors belong to, such as 'espcn'.
        arguments: constructor arguments of that class.
        trained: False for a network that never saw data; such weights are never part of 'all'.
        scale: enlargement factor of a super-resolver, None for a regressor.
        degradation: the degradation that it was trained to undo, or '' where it does not apply.
        colour: how colour is handled, in the words of the architecture's module.
        geometry: for a regressor, the fields of `conventions.VolumeGeometry` of its volumes.
        usage: how a regressor is run where that differs from what facepipe trains, see `vrn.usage`.
        assumed: fields of the geometry that were never published with the network, so that they are a guess.
        origin: of imported weights: name and sha256 of the file that they were taken from.
        licence: SPDX identifier or a sentence.
        source: where the weights come from.
        training: command, seed, seconds, data and whatever else describes the training.
        figures: measured figures, by a key that names metric, unit and data.
    """

    name: str
    kind: Kind
    architecture: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    scale: int | None = None
    degradation: str = ""
    colour: str = ""
    geometry: Mapping[str, Any] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)


def parse_info(path: Path, text: str) -> WeightsInfo:
    """Read the description that a weights file holds.

    Args:
        path: the file, for messages.
        text: JSON of the fields of `WeightsInfo`.

    Raises:
        WeightsError: it is damaged, incomplete or of a newer version.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: its facepipe description is no JSON") from error
    known = {entry.name for entry in fields(WeightsInfo)}
    if not isinstance(values, dict) or not {"name", "kind", "architecture"} <= values.keys() <= known:
        raise WeightsError(f"{path}: its facepipe description is incomplete or of a newer version")
    assumed = values.get("assumed", [])
    if not isinstance(assumed, list) or not all(isinstance(key, str) for key in assumed):
        raise WeightsError(f"{path}: its facepipe description has values of a wrong type")
    info = WeightsInfo(**values | {"assumed": tuple(assumed)})
    texts = (info.name, info.architecture, info.degradation, info.colour, info.licence, info.source)
    tables = (info.arguments, info.usage, info.origin, info.training, info.figures, info.geometry or {})
    scale_ok = info.scale is None or (type(info.scale) is int and 1 <= info.scale <= 64)
    if (
        info.kind not in get_args(Kind)
        or not all(isinstance(value, str) for value in texts)
        or not all(isinstance(value, dict) for value in tables)
        or not isinstance(info.trained, bool)
        or not scale_ok
    ):
        raise WeightsError(f"{path}: its facepipe description has values of a wrong type")
    return info


def check_name(name: str) -> str:
    """Return ``name`` if weights may be called so.

    Raises:
        UsageError: it is reserved, looks like a file, or has characters that a file or table name should not
            have.
    """
    if name.endswith(FILE_SUFFIXES):
        raise UsageError(f"name {name!r}: a name, not a file: leave {Path(name).suffix!r} away")
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise UsageError(
            f"name {name!r}: use 1-64 lower-case letters, digits, '.', '_' and '-', "
            f"and none of {', '.join(_RESERVED)}"
        )
    return name
