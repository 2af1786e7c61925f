"""`dask worker --preload`: notes which stages a worker's units belong to, one line each, in $SPY_FOLDER."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distributed import Worker, WorkerPlugin


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
        task = self.worker.state.tasks[key]
        for argument in getattr(task.run_spec, "args", ()):
            stage = getattr(argument, "stage", None)
            if stage is not None:
                with (self.folder / str(self.worker.name)).open("a") as file:
                    file.write(f"{stage}\n")


async def dask_setup(worker: Worker) -> None:
    await worker.plugin_add(Spy(Path(os.environ["SPY_FOLDER"])))
