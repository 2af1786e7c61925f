"""From an architecture's name to a network, to train or to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.registry import unknown
from facepipe.superres import compact, espcn
from facepipe.superres.base import SuperResolver
from facepipe.weights import WeightsFile


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
        WeightsError: the file is damaged or does not fit its architecture.
        UsageError: the architecture is unknown, or the device does not exist.
    """
    return get_builder(file.info.architecture).resolver(file, device)
