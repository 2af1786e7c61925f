"""Import spandrel, also where torchvision's compiled operators do not load."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from types import ModuleType

import torch

from facepipe.core.errors import WeightsError

_BOXES = "Tensor dets, Tensor scores, float iou_threshold"
_OPERATORS = (f"nms({_BOXES}) -> Tensor", f"qnms({_BOXES}) -> Tensor")
"""What torchvision describes to torch when it is imported, whether it could be loaded or not."""


def import_spandrel() -> ModuleType:
    """Import spandrel.

    It imports torchvision, whose wheels hold operators compiled for one build of torch; beside another one,
    such as torch for CPUs, the import fails since two operators have no signature. No network here needs
    them: they get one, and torchvision itself refuses to run them.

    Raises:
        WeightsError: spandrel or torchvision is not installed.
    """
    try:
        try:
            importlib.import_module("torchvision")
        except RuntimeError:
            # A failed import leaves parts of the package behind.
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]
            _describe_operators()
        return importlib.import_module("spandrel")
    except (ImportError, RuntimeError, OSError) as error:
        raise WeightsError(
            "facepipe itself knows no network with these tensors, and spandrel, which may know one, cannot "
            f"be imported ({error}): pip install 'facepipe[spandrel]'"
        ) from error


@cache
def _describe_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for signature in _OPERATORS:
        library.define(signature)
    return library
