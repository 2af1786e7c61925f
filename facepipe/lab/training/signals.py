"""Delay requests to end (Ctrl-C, SIGTERM) until the current step is complete."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and how Slurm, Prefect and torchrun ask a process to end."""


class HeldSignals:
    """Hold back requests to end while the context is open; what came is delivered when it closes.

    Only the main thread of a process can; in others nothing is held back.

    Attributes:
        number: of the signal that waits, 0 for none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Begin to hold back."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                handler = signal.getsignal(number)
                if handler not in (signal.SIG_IGN, None):  # who ignores a signal goes on doing so
                    self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop holding back, and deliver what waits unless something else ends the work already."""
        self._restore()
        if kind is None and self.number:
            signal.raise_signal(self.number)

    def deliver(self, number: int) -> None:
        """Let a signal do now what it would have done: as a rule this does not return.

        Args:
            number: of the signal, which may have come to another process that works on the same.
        """
        handled = number in self._before
        self._restore()
        self.number = 0
        if handled:
            signal.raise_signal(number)
        self.__enter__()

    def _hold(self, number: int, _: FrameType | None) -> None:
        self.number = number

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
