"""Build a network from the name of its architecture, to train it or to run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.core.names import unknown
from facepipe.models.superres import compact, espcn
from facepipe.models.superres.architectures import SPANDREL
from facepipe.models.superres.base import SuperResolver
from facepipe.models.superres.resolver import build_network
from facepipe.models.weights import Tensors, WeightsFile, WeightsInfo, check_shapes


@dataclass(frozen=True)
class Builder:
    """What is needed of an architecture.

    Attributes:
        network: the module's class; its arguments are those of the weights file.
        initialise: gives a new network its initial weights.
        to_tensor: uint8 RGB (N, h, w, 3) to what the network takes and gives, float32 (N, C, h, w) in [0, 1].
        resolver: the class that runs it on images.
    """

    network: Callable[..., torch.nn.Module]
    initialise: Callable[[Any], None]
    to_tensor: Callable[[NDArray[np.uint8]], torch.Tensor]
    resolver: Callable[[WeightsFile, str], SuperResolver]


BUILDERS = {
    "espcn": Builder(espcn.Espcn, espcn.start_orthogonal, espcn.to_luma, espcn.EspcnResolver),
    "compact": Builder(compact.Compact, compact.start_as_bilinear, compact.to_rgb, compact.CompactResolver),
}


def get_builder(architecture: str) -> Builder:
    """Return the builder of an architecture.

    Raises:
        UsageError: there is none of that name.
    """
    if architecture not in BUILDERS:
        raise unknown("architecture", architecture, BUILDERS)
    return BUILDERS[architecture]


def build_resolver(file: WeightsFile, device: str) -> SuperResolver:
    """Load the network of a weights file.

    Raises:
        WeightsError: the file is damaged or does not fit its architecture, or spandrel builds it and is not
            installed.
        UsageError: the architecture is unknown, or the device does not exist.
    """
    if file.info.architecture == SPANDREL:
        from facepipe.models.superres.spandrel import SpandrelResolver

        return SpandrelResolver(file.path, bool(file.info.arguments.get("restores_faces")), device)
    return get_builder(file.info.architecture).resolver(file, device)


def check_fit(tensors: Tensors, info: WeightsInfo, name: str) -> None:
    """Check that tensors are those of the network that a description says, see `weights.check_shapes`.

    Args:
        tensors: what there is.
        info: of architecture, arguments and scale.
        name: of the file, for messages.

    Raises:
        WeightsError: the architecture is unknown or has another scale or other arguments, or a tensor is
            missing, too many or of another shape.
    """
    if info.architecture not in BUILDERS or info.scale != info.arguments.get("scale"):
        raise WeightsError(
            f"{name}: architecture {info.architecture!r} with {dict(info.arguments)} and scale {info.scale}: "
            f"expected one of {', '.join(BUILDERS)} with that scale; it may need a newer facepipe"
        )
    with torch.device("meta"):
        network = build_network(BUILDERS[info.architecture].network, info.arguments, name)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    check_shapes(tensors, shapes, info.architecture, name)
