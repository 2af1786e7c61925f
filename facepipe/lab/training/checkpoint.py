"""Checkpoints of trainings: written atomically, resumed only by the same plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.files import replacing, sync


def save_checkpoint(path: Path, plan: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint under a temporary name and rename it.

    Args:
        path: the file.
        plan: what determines the training, of plain values.
        state: everything that changes while it runs: plain values, tensors, and containers of them.
    """
    with replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save({"plan": dict(plan), **state}, stream)
        sync(stream)


def load_checkpoint(path: Path, plan: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Read a checkpoint, without executing anything in it.

    Raises:
        WeightsError: it is damaged.
        UsageError: it belongs to a training with another plan.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        found = state.pop("plan")
    except Exception as error:  # torch raises a dozen kinds on damaged files
        raise WeightsError(f"{path}: damaged ({error}); delete it to start anew") from error
    if found != dict(plan):
        differ = [
            f"{key} {found.get(key)!r} instead of {plan.get(key)!r}"
            for key in sorted({*found, *plan})
            if found.get(key) != plan.get(key)
        ]
        raise UsageError(
            f"{path}: belongs to another training ({', '.join(differ)}); delete it or choose another --out"
        )
    return dict(state)
