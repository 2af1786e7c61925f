"""`dask worker --preload`: notes which stages a worker's units belong to, one line each, in $SPY_FOLDER."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin

UNIQUE_LENGTH = 32
"""The key of a unit's task is its stage and a UUID."""


class Spy(WorkerPlugin):
    """Appends the stage of every unit that starts here to a file named by the worker."""

    name = "spy"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, worker: Worker) -> None:
        self.worker = worker

    def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
        if finish != "executing":
            return
        stage, _, unique = key.rpartition("-")
        if stage and len(unique) == UNIQUE_LENGTH:
            with (self.folder / str(self.worker.name)).open("a") as file:
                file.write(f"{stage}\n")


async def dask_setup(worker: Worker) -> None:
    await worker.plugin_add(Spy(Path(os.environ["SPY_FOLDER"])))
