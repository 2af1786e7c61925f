"""Build a network from the name of its architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import WeightsError
from facepipe.models.vrn.hourglass import HourglassNetwork
from facepipe.models.vrn.published import ThirdsNetwork, VrnNetwork
from facepipe.models.weights import Tensors, check_shapes

NETWORKS: dict[str, type[nn.Module]] = {
    "hourglass": HourglassNetwork,
    "thirds": ThirdsNetwork,
    "vrn": VrnNetwork,
}
"""One class for each of `regressors.ARCHITECTURES`. Each maps float RGB in [-1, 1], (N, 3, S, S), to a list
of logits (N, slices, h, w), the best one last."""


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build a network with random weights.

    Args:
        architecture: one of `NETWORKS`.
        arguments: of its class.

    Raises:
        WeightsError: the class takes other arguments, or other values of them.
    """
    try:
        return NETWORKS[architecture](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"architecture {architecture!r} with {dict(arguments)}: {error}") from error


def random_tensors(architecture: str, arguments: Mapping[str, Any], seed: int) -> dict[str, NDArray[Any]]:
    """The tensors of a network with random weights, always the same ones for a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = build_network(architecture, arguments).state_dict()
    return {key: value.numpy() for key, value in state.items()}


def check_fit(tensors: Tensors, architecture: str, arguments: Mapping[str, Any], name: str) -> None:
    """Check that tensors are a network's, each of them once and of its shape, see `weights.check_shapes`.

    Raises:
        WeightsError: one is missing, too many or of another shape, or the network takes other arguments.
    """
    with torch.device("meta"):
        expected = {
            key: tuple(value.shape)
            for key, value in build_network(architecture, arguments).state_dict().items()
        }
    check_shapes(tensors, expected, architecture, name)


def check_run(architecture: str, arguments: Mapping[str, Any], geometry: VolumeGeometry, name: str) -> None:
    """Check that a network gives volumes of a geometry. Only shapes are computed, whatever its size.

    Args:
        architecture: one of `NETWORKS`.
        arguments: of its class.
        geometry: of the volumes.
        name: of the file, for messages.

    Raises:
        WeightsError: it does not run on images as large as the volumes, or gives another number of slices.
    """
    side = geometry.size
    try:
        with torch.device("meta"), torch.inference_mode():
            network = build_network(architecture, arguments).eval()
            shape = tuple(network(torch.empty(1, 3, side, side))[-1].shape)
    except (RuntimeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"{name}: architecture {architecture!r} with {dict(arguments)} does not run on images of {side} "
            f"px, the size of its volumes ({str(error).splitlines()[0]}); volumes of another size are needed"
        ) from error
    if len(shape) != 4 or shape[:2] != (1, geometry.depth):
        raise WeightsError(
            f"{name}: a volume geometry of depth {geometry.depth}, and the network gives logits of shape "
            f"{shape}"
        )
