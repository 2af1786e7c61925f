"""The device that a network runs on in this process."""

from __future__ import annotations

from functools import lru_cache


def usable_device(wanted: str) -> str:
    """The device that was asked for, or 'cpu' where 'cuda' was and this process sees none."""
    return "cuda" if wanted == "cuda" and _has_cuda() else "cpu"


@lru_cache(maxsize=1)
def _has_cuda() -> bool:
    import torch

    return bool(torch.cuda.is_available())
