"""Importing spandrel where torchvision cannot be imported.

spandrel imports torchvision for two of its architectures, and torchvision's wheel does not load beside
every build of torch. For the time of the import a torchvision stands in that has the one function which
a network for faces calls; all else in it says so when it is really used.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from facepipe.core.errors import WeightsError

_ROOT = "torchvision"
_NAMES = (_ROOT, f"{_ROOT}.transforms", f"{_ROOT}.transforms.functional")


class _Missing:
    """Anything of torchvision: may be imported, not used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *_: object, **__: object) -> NoReturn:
        self._refuse()

    def __getattr__(self, attribute: str) -> NoReturn:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise WeightsError(
            f"this network needs {self._name}, and torchvision cannot be imported here: "
            "install the torchvision that belongs to this build of torch"
        )


def _normalize(image: Any, mean: list[float], std: list[float]) -> Any:
    """Map each channel of a tensor (N, C, H, W) to (value - mean) / std."""
    return (image - image.new_tensor(mean)[:, None, None]) / image.new_tensor(std)[:, None, None]


class _StandIn(types.ModuleType):
    """A module all of whose names but `normalize` are `_Missing`."""

    normalize = staticmethod(_normalize)

    def __getattr__(self, name: str) -> _Missing:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing(f"{self.__name__}.{name}")


def import_spandrel() -> types.ModuleType:
    """Import spandrel, with a stand-in for torchvision if the real one cannot be imported.

    Raises:
        WeightsError: spandrel is not installed.
    """
    try:
        if _torchvision_works():
            return importlib.import_module("spandrel")
        with _stand_in():
            return importlib.import_module("spandrel")
    except ImportError as error:
        raise WeightsError(
            "facepipe itself knows no network with these tensors, and spandrel, which may know one, cannot "
            f"be imported ({error}): pip install 'facepipe[spandrel]'"
        ) from error


def _torchvision_works() -> bool:
    try:
        importlib.import_module(f"{_ROOT}.transforms.functional")
    except (ImportError, RuntimeError, OSError, AttributeError):
        # A failed import leaves parts of the package behind.
        for name in _loaded():
            del sys.modules[name]
        return False
    return True


def _loaded() -> list[str]:
    return [name for name in sys.modules if name == _ROOT or name.startswith(f"{_ROOT}.")]


@contextmanager
def _stand_in() -> Iterator[None]:
    real = {name: sys.modules.pop(name) for name in _loaded()}
    modules = [_StandIn(name) for name in _NAMES]
    for module in modules:
        module.__path__ = []  # makes it a package, so that its submodules are looked up in sys.modules
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name in _loaded():
            del sys.modules[name]
        sys.modules.update(real)
