"""A restricted unpickler for whole modules, as the study of 2019 saved them: names and tensors come out.

`torch.load(weights_only=True)` refuses such files, since a pickled module names its classes. Here every class
of a module becomes a plain dictionary of its attributes; no class or function of a file is imported or called
but the few that rebuild tensors.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import _utils as rebuild

from facepipe.core.errors import WeightsError

MODULE_PREFIX = "torch.nn.modules."
MODULES = ("model_super_resolution.Net",)
"""Classes of modules beyond torch's own: the network of the 2019 study."""
MAX_MODULES = 10_000


class PickledModule(dict[str, Any]):
    """The attributes of a pickled module."""

    dump_patches = False


_CALLABLE = {
    "collections.OrderedDict": OrderedDict,
    "__builtin__.set": set,
    "builtins.set": set,
    "torch.Size": torch.Size,
    "torch._utils._rebuild_tensor": rebuild._rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": rebuild._rebuild_parameter,
    "torch.nn.backends.thnn._get_thnn_function_backend": PickledModule,
}


class Unpickler(pickle._Unpickler):  # the one in C allocates gigabytes where a file names an absurd index
    """Python's unpickler with nothing to call but what is listed above."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name stands for.

        Raises:
            pickle.UnpicklingError: it is not on the list.
        """
        full_name = f"{module}.{name}"
        if full_name.startswith(MODULE_PREFIX) or full_name in MODULES:
            return PickledModule
        if full_name in _CALLABLE:
            return _CALLABLE[full_name]
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL {full_name}")

    def load_build(self) -> None:
        """Give a module its attributes; those of dictionaries, such as versions, are not needed."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined]
        state, target = stack.pop(), stack[-1]
        if isinstance(target, PickledModule) and isinstance(state, dict):
            target.update(state)
        elif not isinstance(target, OrderedDict):
            raise pickle.UnpicklingError(f"attributes for a {type(target).__name__}")

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def load(stream: Any, **options: Any) -> Any:
    """Read one pickle; `torch.load` expects this name beside `Unpickler`."""
    return Unpickler(stream, **options).load()


def module_tensors(root: PickledModule, name: str) -> dict[str, torch.Tensor]:
    """The tensors of a module and those inside it, under the names that its state dictionary would have.

    Raises:
        WeightsError: there are absurdly many modules, or they contain themselves.
    """
    found: dict[str, torch.Tensor] = {}
    waiting = [("", root)]
    for _ in range(MAX_MODULES):
        if not waiting:
            return found
        prefix, module = waiting.pop()
        for group in ("_parameters", "_buffers"):
            for key, value in _mapping(module.get(group)).items():
                if isinstance(value, torch.Tensor):
                    found[f"{prefix}{key}"] = value
        for key, child in _mapping(module.get("_modules")).items():
            if isinstance(child, PickledModule):
                waiting.append((f"{prefix}{key}.", child))
    raise WeightsError(f"{name}: refused, it has more than {MAX_MODULES} modules or they contain themselves")


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}
