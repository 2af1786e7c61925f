"""A network whose class stands in a Python file and whose weights lie beside it, as a plug-in method.

That is how challenges publish: `models/team07_x.py` with a class, `model_zoo/team07_x.pth`, and a few lines
that build the one and load the other. Those lines are the arguments here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import PluginError, WeightsError
from facepipe.core.files import file_digest
from facepipe.core.plugins import ColourOrder
from facepipe.imaging.degrade import make_reference

Restore = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

WRAPPERS = ("params_ema", "params", "state_dict", "model")
"""Keys under which checkpoints hold their tensors, the better ones first."""


@dataclass(frozen=True)
class ScriptNetwork:
    """A super-resolution network of a Python file: a `facepipe.models.superres.plugin_method.MethodPlugin`.

    The file is the user's own and is run, which a weights file never is. The network reads and gives float
    (1, 3, h, w) images, one at a time. Where it enlarges to more than 128 px, the result is averaged down by
    area; where to less, it runs again on its own result.

    Args:
        source: the file; what it imports is found from the folder above its own (`models/x.py`: the
            repository) and in its own.
        network: name of the class.
        weights: the checkpoint, of tensors only.
        arguments: of the class.
        scale: how many times it enlarges.
        data_range: what the grey level 255 is to it: 1.0 or 255.0.
        prepare: called with the loaded network, such as `lambda network: network.switch_deploy()`.
        strict: whether every tensor has to fit.
        low_px: sides of images that it can read; None for all.
        licence: SPDX identifier of file and weights.
        colour_order: of its images.
        deterministic: whether equal images give equal results.
    """

    source: str | Path
    network: str
    weights: str | Path
    arguments: Mapping[str, Any] = field(default_factory=dict)
    scale: int = 4
    data_range: float = 1.0
    prepare: Callable[[Any], object] | None = None
    strict: bool = True
    low_px: tuple[int, ...] | None = None
    licence: str = "MIT"
    colour_order: ColourOrder = "rgb"
    deterministic: bool = True

    def fingerprint(self) -> str:
        """A digest of the file, the weights and the arguments.

        Raises:
            PluginError: a file is missing.
        """
        parts = [self.network, repr(sorted(self.arguments.items())), self.scale, self.data_range, self.strict]
        digests = [file_digest(path) for path in (self._place(self.source), self._place(self.weights))]
        return hashlib.sha256(repr([*parts, *digests]).encode()).hexdigest()

    def build(self, low_px: int, device: str) -> Restore:  # noqa: ARG002
        """Load the network; see `MethodPlugin.build`.

        Raises:
            PluginError: a file is missing, or the class is not there.
            WeightsError: the checkpoint holds more than tensors, or does not fit the class.
        """
        import torch

        from facepipe.models.inference import open_device, run_batched

        target = open_device(device)
        with _without_cuda(device):
            network = getattr(self._module(), self.network)(**self.arguments)
            self._load(network, torch)
            network = network.eval().requires_grad_(False).to(target)
            if self.prepare is not None:
                self.prepare(network)

        def forward(images: torch.Tensor) -> torch.Tensor:
            planes = images.permute(0, 3, 1, 2).float() * (self.data_range / 255)
            while planes.shape[-1] < NETWORK_PX:
                planes = network(planes)
                planes = planes[0] if isinstance(planes, tuple | list) else planes
            grey_levels = planes.permute(0, 2, 3, 1) * (255 / self.data_range)
            return (grey_levels + 0.5).clamp(0, 255).to(torch.uint8)

        def restore(lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
            with _without_cuda(device):
                # One by one: many of these networks are written for a batch of one.
                large = run_batched(forward, lowres, target, batch=1)
            if large.shape[1] == NETWORK_PX:
                return large
            return np.stack([make_reference(one) for one in large])

        return restore

    def _place(self, path: str | Path) -> Path:
        place = Path(path).expanduser().absolute()
        if not place.is_file():
            raise PluginError(f"{self.network}: {place} is no file")
        return place

    def _module(self) -> ModuleType:
        path = self._place(self.source)
        name = f"facepipe_script_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        if name not in sys.modules:
            spec = spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise PluginError(f"{path}: no Python file")
            module = module_from_spec(spec)
            with _importable(path.parent.parent, path.parent):
                spec.loader.exec_module(module)
            sys.modules[name] = module
        if not hasattr(sys.modules[name], self.network):
            raise PluginError(f"{path}: no class {self.network!r} in it")
        return sys.modules[name]

    def _load(self, network: Any, torch: Any) -> None:
        path = self._place(self.weights)
        try:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            for key in WRAPPERS:
                if isinstance(tensors, dict) and isinstance(tensors.get(key), dict):
                    tensors = tensors[key]
                    break
            network.load_state_dict(tensors, strict=self.strict)
        except Exception as error:  # torch raises many kinds
            first = " ".join(str(error).split())[:300]
            raise WeightsError(f"{path}: its tensors do not fit {self.network} ({first})") from error


@contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    added = [str(folder) for folder in folders if str(folder) not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


@contextmanager
def _without_cuda(device: str) -> Iterator[None]:
    """Let `.cuda()`, which some of these files call while they build, do nothing on another device."""
    import torch

    if device.startswith("cuda"):
        yield
        return

    def stay(self: Any, *_: Any, **__: Any) -> Any:
        return self

    with patch.object(torch.nn.Module, "cuda", stay), patch.object(torch.Tensor, "cuda", stay):
        yield
