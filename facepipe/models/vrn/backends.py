"""The libraries that run regressors: torch, or faster ones whose results differ slightly."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown

Backend = Literal["torch", "torch-bf16", "openvino"]

BACKENDS: tuple[Backend, ...] = ("torch", "torch-bf16", "openvino")
"""torch in float32 or with bfloat16 convolutions, anywhere; OpenVINO on the CPU, in bfloat16 where it can."""

PACKAGES: dict[Backend, str] = {"torch": "torch", "torch-bf16": "torch", "openvino": "openvino"}
"""Which installed package's version a run records for a backend."""


def check_backend(name: str) -> None:
    """Check that a backend can be used here.

    Raises:
        UsageError: it is unknown or not installed.
    """
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    if find_spec(PACKAGES[name]) is None:
        raise UsageError(
            f"backend {name!r} is not installed: `pip install 'facepipe[{name}]'`, or use --backend torch"
        )
