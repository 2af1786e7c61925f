"""A package that is called like a function: `facepipe.bench(...)` beside `facepipe.bench.driver`."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def make_callable(package: str, target: str) -> None:
    """Let a package be called.

    Args:
        package: its name, of a package that is being imported.
        target: 'module:function', imported at the first call.
    """
    module, _, name = target.partition(":")

    class Room(ModuleType):
        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return getattr(import_module(module), name)(*arguments, **named)

    sys.modules[package].__class__ = Room
