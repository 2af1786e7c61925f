"""Workers in two groups, more of them while there is work for them and fewer when there is not.

Dask's own adaptivity looks at the backlog, and a run keeps none: its window is as wide as the slots. What
counts here is whether a group has any work at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from distributed import Client

from facepipe.core.errors import EnvironmentTroubleError
from facepipe.pipeline.cluster.file import Limits

logger = logging.getLogger("facepipe")

SECONDS_BETWEEN_LOOKS = 2.0
BUSY_STATES = ("processing", "queued", "no-worker")

Resize = Callable[[str, int], None]


def tasks_of_groups(dask_scheduler: Any) -> dict[str, int]:
    """Count what the scheduler has to do: tasks that ask for a GPU, and others. Runs on the scheduler."""
    counts = {"cpu": 0, "gpu": 0}
    for task in dask_scheduler.tasks.values():
        if task.state in BUSY_STATES:
            counts["gpu" if (task.resource_restrictions or {}).get("GPU") else "cpu"] += 1
    return counts


def workers_of_groups(client: Client) -> dict[str, int]:
    """Count the workers that offer a GPU, and the others."""
    counts = {"cpu": 0, "gpu": 0}
    for worker in client.scheduler_info(n_workers=-1)["workers"].values():
        counts["gpu" if worker["resources"].get("GPU") else "cpu"] += 1
    return counts


def wanted(limits: Limits, idle_seconds: float, patience_seconds: float) -> int:
    """How many of a group there should be, when it has been without work for `idle_seconds`."""
    return limits.minimum if idle_seconds > patience_seconds else limits.maximum


def wait_for(client: Client, least: Mapping[str, int], timeout_seconds: float, hint: str) -> None:
    """Wait until each group has so many workers.

    Raises:
        EnvironmentTroubleError: not in time; `hint` says where to look.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        found = workers_of_groups(client)
        lacking = [name for name, n in least.items() if found[name] < n]
        if not lacking:
            return
        if time.monotonic() > deadline:
            counts = ", ".join(f"{found[name]} of {least[name]} {name} workers" for name in lacking)
            raise EnvironmentTroubleError(f"after {timeout_seconds:.0f} s there are {counts}; {hint}")
        time.sleep(0.2)


@contextmanager
def scaling(
    client: Client, groups: Mapping[str, Limits], patience_s: float, resize: Resize
) -> Iterator[None]:
    """Follow the work until the block ends.

    Args:
        client: of the cluster.
        groups: limits by the group's name, 'cpu' or 'gpu'.
        patience_s: seconds without work after which a group shrinks to its minimum.
        resize: sets how many of a group there are; called at every look, so that it can replace lost ones.
    """
    end = threading.Event()

    def follow() -> None:
        busy_at = dict.fromkeys(groups, time.monotonic())
        while not end.wait(SECONDS_BETWEEN_LOOKS):
            try:
                tasks = client.run_on_scheduler(tasks_of_groups)
                for name, limits in groups.items():
                    now = time.monotonic()
                    busy_at[name] = now if tasks[name] else busy_at[name]
                    resize(name, wanted(limits, now - busy_at[name], patience_s))
            except (OSError, RuntimeError, ValueError, TimeoutError) as error:
                # The batch system may be out for a moment; the run goes on with the workers it has.
                logger.warning("cannot scale the cluster at the moment: %s", error)

    thread = threading.Thread(target=follow, name="facepipe-scaling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(60)
