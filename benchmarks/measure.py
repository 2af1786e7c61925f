"""Measuring two ways of doing the same side by side, and the table of what came out."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "numba", "scipy", "scikit-image", "opencv-python-headless", "torch", "openvino", "zarr")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        step: what is done.
        against: the usual way of doing it.
        usual_ms, ours_ms: medians.
        target: how many times as fast it should be at least; None where there is no such aim.
        check: how it was made sure that both give the same.
    """

    step: str
    against: str
    usual_ms: float
    ours_ms: float
    target: float | None
    check: str

    @property
    def ratio(self) -> float:
        """How many times as fast ours is."""
        return self.usual_ms / self.ours_ms


def compare(
    step: str,
    against: str,
    usual: Callable[[], object],
    ours: Callable[[], object],
    *,
    target: float | None,
    check: str,
    runs: int,
) -> Row:
    """Time two functions by turns, after one call of each, in CPU time of this process.

    CPU time rather than the clock's: what else the machine does then matters less.
    """
    ours(), usual()
    usual_ms, ours_ms = [], []
    for _ in range(runs):
        usual_ms.append(_cpu_ms(usual))
        ours_ms.append(_cpu_ms(ours))
    return Row(step, against, statistics.median(usual_ms), statistics.median(ours_ms), target, check)


def _cpu_ms(work: Callable[[], object]) -> float:
    started = time.process_time_ns()
    work()
    return (time.process_time_ns() - started) / 1e6


def require(holds: bool, what: str) -> None:
    """Stop a benchmark whose two ways do not agree.

    Raises:
        RuntimeError: they do not.
    """
    if not holds:
        raise RuntimeError(f"the usual way and ours do not agree: {what}")


def machine() -> str:
    """This machine in a sentence."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    models = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    extras = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{models[0] if models else platform.processor()} ({', '.join(extras) or platform.machine()}), "
        f"{cores} cores of which {load:.1f} were busy, Python {platform.python_version()}, {packages}"
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = [
        "| step | against | usual, ms | ours, ms | times as fast | aim | both give the same |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        aim = "" if row.target is None else f"{row.target:g}"
        missed = row.target is not None and row.ratio < row.target
        ratio = f"{row.ratio:.1f}" + (" (missed)" if missed else "")
        lines.append(
            f"| {row.step} | {row.against} | {row.usual_ms:.4g} | {row.ours_ms:.4g} | {ratio} | {aim} "
            f"| {row.check} |"
        )
    return "\n".join(lines)
