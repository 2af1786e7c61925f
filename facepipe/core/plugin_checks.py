"""Check plug-ins against their protocols, and name them in the errors of their code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import FacepipeError, PluginError, PluginFailedError
from facepipe.core.plugins import ColourOrder, Kind, Plugin

T = TypeVar("T")


def check_protocol(kind: Kind, name: str, value: Any, protocol: type) -> None:
    """Check that an object has what a protocol asks for, and that colours are in an order that is known.

    Raises:
        PluginError: something is missing; the message names all of it.
    """
    members = {
        key
        for key, member in vars(protocol).items()
        if not key.startswith("_") and (callable(member) or isinstance(member, property))
    }
    missing = sorted(key for key in {*protocol.__annotations__, *members} if not hasattr(value, key))
    if missing:
        raise PluginError(
            f"{kind} {name!r}: it has no {', '.join(missing)}; a plug-in of this kind keeps to "
            f"{protocol.__module__}.{protocol.__name__}"
        )
    order = getattr(value, "colour_order", "rgb")
    if order not in get_args(ColourOrder):
        raise PluginError(
            f"{kind} {name!r}: colour_order is {order!r}, expected one of {', '.join(get_args(ColourOrder))}"
        )


def run_plugin(kind: Kind, name: str, step: Callable[[], T]) -> T:
    """Run code of a plug-in; what it is not prepared for becomes an error that names the plug-in.

    Raises:
        PluginFailedError: it raised something else than an error of facepipe's, of the disk or of memory.
    """
    try:
        return step()
    except (FacepipeError, OSError, MemoryError):
        raise
    except Exception as error:  # anything may happen in the code of others
        reason = " ".join(str(error).split())
        raise PluginFailedError(f"{kind} {name!r} failed: {type(error).__name__}: {reason}") from error


def check_result(kind: Kind, name: str, result: NDArray[Any], shape: Sequence[int]) -> None:
    """Check that a plug-in gave uint8 of a shape.

    Raises:
        PluginFailedError: it gave something else.
    """
    if result.dtype != np.uint8 or result.shape != tuple(shape):
        raise PluginFailedError(
            f"{kind} {name!r} gave {result.dtype} {result.shape}; expected uint8 {tuple(shape)}"
        )


def plugin_fingerprint(plugin: Plugin, parts: Sequence[Any] = ()) -> str:
    """A digest of what determines a plug-in's results: its package, version, source, and what it says itself.

    Args:
        plugin: which.
        parts: plain values that belong to it, such as a size.
    """
    own = getattr(plugin.value, "fingerprint", None)
    said = run_plugin(plugin.source.kind, plugin.source.name, own) if callable(own) else ""
    source = plugin.source
    text = json.dumps([source.target, source.package, source.version, source.source_sha256, said, *parts])
    return hashlib.sha256(text.encode()).hexdigest()
