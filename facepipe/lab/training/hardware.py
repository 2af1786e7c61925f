"""Describe the hardware of a training."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import torch

_CPU_INFO = Path("/proc/cpuinfo")


def choose_device(name: str) -> str:
    """A torch device for what a user asked for: 'auto' is the GPU where there is one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def use_threads(threads: int) -> None:
    """Let torch use so many threads of the CPU in this process."""
    torch.set_num_threads(threads)


def hardware(device: str, threads: int, processes: int = 1) -> str:
    """Device, its model, threads of a process and processes, for model cards."""
    kind = torch.device(device).type
    model = torch.cuda.get_device_name(device) if kind == "cuda" else _cpu_model()
    together = f", {processes} processes" if processes > 1 else ""
    return f"{device} ({model}), {threads} thread{'s' if threads > 1 else ''}{together}"


def _cpu_model() -> str:
    """What the system calls the CPU, or its instruction set where it says nothing."""
    text = _CPU_INFO.read_text(errors="replace") if _CPU_INFO.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.*\S)", text, re.MULTILINE)
    return found[1] if found else platform.machine()
