"""Time limits of units: a late unit is cancelled and a worker that hangs is restarted."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from threading import Timer
from typing import Any

logger = logging.getLogger("facepipe")

BASE_S = 300.0
PER_SAMPLE_S = 120.0
"""What a unit may take unless the user says otherwise: far more than the slowest network takes on a CPU."""

RESTART_S = 60
STARTED = "facepipe-started"
"""Topic of the events by which workers say that they begin with a task: its key."""


def default_limit_s(samples: int) -> float:
    """How long a unit of so many samples may take, loading its network included."""
    return BASE_S + PER_SAMPLE_S * samples


class TimeoutWatcher:
    """Watches futures of one client, each against its own limit.

    Time counts from the moment at which the worker says that it begins, so that neither a queue nor the
    start of a worker counts. (A worker that stops before is silent, and the scheduler ends it for that.)

    Args:
        client: a `distributed.Client`.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._limits: dict[Hashable, tuple[Any, float]] = {}
        self._timers: dict[Hashable, Timer] = {}
        self._hanging: dict[Hashable, list[str]] = {}

    def listen(self) -> None:
        """Begin to hear what workers say."""
        self._client.subscribe_topic(STARTED, self._started)

    def add(self, future: Any, limit_s: float) -> None:
        """Cancel a future if it is not done within its limit."""
        self._limits[future.key] = (future, limit_s)

    def remove(self, future: Any) -> None:
        """Stop watching a future."""
        self._limits.pop(future.key, None)
        timer = self._timers.pop(future.key, None)
        if timer is not None:
            timer.cancel()

    def recover(self, future: Any) -> bool:
        """Restart the worker that a cancelled future hangs on.

        Returns:
            Whether it was this watch that cancelled the future.
        """
        workers = self._hanging.pop(future.key, None)
        if workers is None:
            return False
        logger.warning("restarting %s: over the time limit of its unit", ", ".join(workers))
        self._client.restart_workers(workers, timeout=RESTART_S, raise_for_error=False)
        return True

    def _started(self, event: tuple[float, Any]) -> None:
        key = event[1]
        if key in self._limits:
            if key in self._timers:  # begun again: another worker has it now
                self._timers[key].cancel()
            timer = Timer(self._limits[key][1], self._expire, (key,))
            timer.daemon = True
            self._timers[key] = timer
            timer.start()

    def _expire(self, key: Hashable) -> None:
        try:
            processing = self._client.processing()
        except (OSError, TimeoutError, RuntimeError):
            return  # whoever waits for the future learns of a lost cluster by itself
        if key not in self._limits or self._limits[key][0].done():
            return
        self._hanging[key] = [address for address, keys in processing.items() if key in keys]
        self._limits[key][0].cancel()
