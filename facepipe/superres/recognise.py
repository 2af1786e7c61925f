"""Telling from names and shapes of tensors which super-resolver they belong to. Needs no torch."""

from __future__ import annotations

import math

from facepipe.conventions import NETWORK_PX
from facepipe.errors import WeightsError
from facepipe.superres.architectures import get_architecture
from facepipe.weights import Tensors, WeightsInfo

_ESPCN_SHAPES = {
    "conv1.weight": (64, 1, 5, 5),
    "conv1.bias": (64,),
    "conv2.weight": (64, 64, 3, 3),
    "conv2.bias": (64,),
    "conv3.weight": (32, 64, 3, 3),
    "conv3.bias": (32,),
}


def recognise_superres(tensors: Tensors, name: str) -> tuple[dict, WeightsInfo] | None:
    """Recognise an ESPCN; its scale is the root of the last layer's channels.

    Returns:
        The tensors and their description; None if it is another network.

    Raises:
        WeightsError: the names are those of an ESPCN, and shapes are not.
    """
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
    info = WeightsInfo(
        name=name,
        kind="superres",
        architecture="espcn",
        # Checkpoints of this form come with a script that truncates luma to uint8.
        arguments={"scale": scale, "quantise": "truncate"},
        scale=scale,
        colour=get_architecture("espcn").colour,
    )
    return dict(tensors), info
