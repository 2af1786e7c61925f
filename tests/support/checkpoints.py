"""Checkpoints for the tests, written by torch as its users write them."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Net(nn.Module):
    """An ESPCN as the 2019 study pickled it; `pickled_module` gives it the name it had there."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, scale**2, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(scale)


@contextmanager
def _named(cls: type, module: str, name: str) -> Iterator[None]:
    before = (cls.__module__, cls.__qualname__)
    stand_in = types.ModuleType(module)
    stand_in.__file__ = __file__  # torch pickles the source of the class along, as it did for the study
    setattr(stand_in, name, cls)
    sys.modules[module] = stand_in
    cls.__module__, cls.__qualname__ = module, name
    try:
        yield
    finally:
        cls.__module__, cls.__qualname__ = before
        del sys.modules[module]


def espcn(scale: int, seed: int = 0) -> Net:
    """A random ESPCN."""
    torch.manual_seed(seed)
    return Net(scale)


def save_module(network: Net, path: Path, *, legacy: bool) -> Path:
    """Pickle a whole module under the class name of the 2019 study."""
    with _named(Net, "model_super_resolution", "Net"):
        save(network, path, legacy=legacy)
    return path


def save(value: Any, path: Path, *, legacy: bool = False) -> Path:
    """Write anything with torch, in its old or its new format."""
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def compact(scale: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """The state dictionary of a small random 'RealESRGAN Compact', near nearest-neighbour enlarging."""
    torch.manual_seed(seed)
    state = {}
    inputs = 3
    for layer in range(3):
        state[f"body.{2 * layer}.weight"] = torch.randn(8, inputs, 3, 3) * 0.1
        state[f"body.{2 * layer}.bias"] = torch.zeros(8)
        state[f"body.{2 * layer + 1}.weight"] = torch.full((8,), 0.2)
        inputs = 8
    state["body.6.weight"] = torch.randn(3 * scale**2, 8, 3, 3) * 0.05
    state["body.6.bias"] = torch.zeros(3 * scale**2)
    return state
