"""Detect the architecture of a super-resolver from names and shapes of tensors. Needs no torch.

What is none of facepipe's own architectures is left to spandrel, see `superres.spandrel`.
"""

from __future__ import annotations

import math
import re
from typing import Any

from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import WeightsError
from facepipe.models.superres.architectures import get_architecture
from facepipe.models.weights import Tensors, WeightsInfo

_ESPCN_SHAPES = {
    "conv1.weight": (64, 1, 5, 5),
    "conv1.bias": (64,),
    "conv2.weight": (64, 64, 3, 3),
    "conv2.bias": (64,),
    "conv3.weight": (32, 64, 3, 3),
    "conv3.bias": (32,),
}
_COMPACT_KEY = re.compile(r"body\.(\d{1,4})\.(weight|bias)")

Detected = tuple[dict[str, NDArray[Any]], WeightsInfo]


def detect_superres(tensors: Tensors, name: str) -> Detected | None:
    """Tell whether tensors are those of an ESPCN or a Compact.

    Returns:
        The tensors under the network's own names and their description; None if it is another network.

    Raises:
        WeightsError: the names are those of an ESPCN, and shapes are not.
    """
    return _espcn(dict(tensors), name) or _compact(dict(tensors), name)


def _espcn(tensors: dict[str, NDArray[Any]], name: str) -> Detected | None:
    """An ESPCN; its scale is the root of the last layer's channels."""
    if set(tensors) != {*_ESPCN_SHAPES, "conv4.weight", "conv4.bias"}:
        return None
    channels = tensors["conv4.bias"].size
    scale = math.isqrt(channels)
    shapes = _ESPCN_SHAPES | {"conv4.weight": (scale**2, 32, 3, 3), "conv4.bias": (scale**2,)}
    for key, shape in shapes.items():
        if tensors[key].shape != shape:
            raise WeightsError(f"{name}: tensor {key} has shape {tensors[key].shape}, an ESPCN has {shape}")
    if scale < 2 or NETWORK_PX % scale:
        raise WeightsError(f"{name}: an ESPCN of scale {scale}; {NETWORK_PX} must be a multiple of it")
    # Checkpoints of this form come with a script that truncates luma to uint8.
    return tensors, _described(name, "espcn", {"scale": scale, "quantise": "truncate"})


def _compact(tensors: dict[str, NDArray[Any]], name: str) -> Detected | None:
    """A Compact on RGB whose scale leads from a whole size to that of the network.

    Layers 0, 2, 4, ... are convolutions, those between them PReLU; the last one has 3 r^2 channels.
    """
    matches = [_COMPACT_KEY.fullmatch(key) for key in tensors]
    layers = {int(match[1]) for match in matches if match}
    if not all(matches) or layers != set(range(len(layers))) or len(layers) < 3 or len(layers) % 2 == 0:
        return None
    first, last = tensors.get("body.0.weight"), tensors.get(f"body.{len(layers) - 1}.bias")
    if first is None or last is None or first.ndim != 4 or first.shape[1] != 3:
        return None
    scale = math.isqrt(last.size // 3)
    if last.size != 3 * scale**2 or scale < 2 or NETWORK_PX % scale:
        return None
    arguments = {"scale": scale, "features": first.shape[0], "convolutions": len(layers) // 2 - 1}
    return tensors, _described(name, "compact", arguments)


def _described(name: str, architecture: str, arguments: dict[str, Any]) -> WeightsInfo:
    colour = get_architecture(architecture).colour
    return WeightsInfo(name, "superres", architecture, arguments, scale=arguments["scale"], colour=colour)
