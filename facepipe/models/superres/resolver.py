"""A loaded network as a super-resolver: code that facepipe's own architectures share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.inference import load_module, open_device
from facepipe.models.weights import WeightsFile, load_tensors

N = TypeVar("N", bound=torch.nn.Module)


class WeightsResolver(ABC):
    """A loaded network.

    Args:
        file: weights of `network_class`.
        device: a torch device.

    Attributes:
        network_class: the module's class; its arguments are those of the weights file.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
        UsageError: the device does not exist.
    """

    network_class: ClassVar[type[torch.nn.Module]]

    def __init__(self, file: WeightsFile, device: str = "cpu") -> None:
        self._file = file
        self._device_name = device
        self._device = open_device(device)
        self._network = network_from(self.network_class, file).to(self._device)
        self._side = NETWORK_PX // int(file.info.arguments["scale"])

    def __reduce__(self) -> tuple[type[Self], tuple[WeightsFile, str]]:
        """Pickle as the file to load: processes load their own weights."""
        return type(self), (self._file, self._device_name)

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3), h = 128 / scale."""
        side = self._side
        if lowres.shape[1:] != (side, side, 3):
            raise UsageError(
                f"{self._file.info.name} restores images of {side} px, and was given shape {lowres.shape}"
            )
        if not len(lowres):
            return np.empty((0, NETWORK_PX, NETWORK_PX, 3), np.uint8)
        return self._restore(lowres)

    @abstractmethod
    def _restore(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore one image or more of the right size."""


def network_from(network_class: type[N], file: WeightsFile) -> N:
    """Build the network of a weights file.

    Raises:
        WeightsError: the file is damaged or does not fit the architecture.
    """
    network = build_network(network_class, file.info.arguments, str(file.path))
    load_module(network, load_tensors(file.path), str(file.path))
    return network


def build_network(network_class: Callable[..., N], arguments: Mapping[str, Any], name: str) -> N:
    """Build a network with initial weights.

    Args:
        network_class: which.
        arguments: of its class, from a weights file.
        name: of that file, for messages.

    Raises:
        WeightsError: the class takes other arguments.
    """
    try:
        return network_class(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{name}: its network cannot be built with {dict(arguments)} ({error})") from error
