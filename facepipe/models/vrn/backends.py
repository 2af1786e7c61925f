"""The libraries that run regressors: torch, or faster ones whose results differ slightly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown

Backend = Literal["torch", "torch-bf16", "openvino"]
BackendChoice = Literal["torch", "torch-bf16", "openvino", "auto"]

BACKENDS: tuple[Backend, ...] = ("torch", "torch-bf16", "openvino")
"""torch in float32 or with bfloat16 convolutions, anywhere; OpenVINO on the CPU, in bfloat16 where it can."""

PACKAGES: dict[Backend, str] = {"torch": "torch", "torch-bf16": "torch", "openvino": "openvino"}
"""Which installed package's version a run records for a backend."""

_CPU_INFO = Path("/proc/cpuinfo")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia")


def check_backend(name: str) -> Backend:
    """The backend of a name, which can be used here; 'auto' is the fastest of them.

    Raises:
        UsageError: it is unknown or not installed.
    """
    if name == "auto":
        return fastest_backend()
    for known in BACKENDS:
        if name == known:
            if find_spec(PACKAGES[known]) is None:
                raise UsageError(
                    f"backend {name!r} is not installed: `pip install 'facepipe[{name}]'`, "
                    "or use --backend torch"
                )
            return known
    raise unknown("backend", name, (*BACKENDS, "auto"))


def fastest_backend() -> Backend:
    """The fastest backend that is installed here (`docs/decisions/013-openvino.md`).

    With a GPU bfloat16 on it; without one OpenVINO, else bfloat16 where the CPU computes in it, else torch.
    """
    if _NVIDIA_DRIVER.exists():
        return "torch-bf16"
    if find_spec(PACKAGES["openvino"]) is not None:
        return "openvino"
    flags = _CPU_INFO.read_text(errors="replace").split() if _CPU_INFO.is_file() else []
    return "torch-bf16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "torch"
