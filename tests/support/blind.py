"""A process that does not see some files, as a machine without the mount: `--preload blind` of a Dask worker.

What lies below the path that stands in the file `$BLIND_TO` cannot be opened as long as that file is there.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path


def dask_setup(worker: object) -> None:
    told = os.environ["BLIND_TO"]

    def refuse(event: str, arguments: tuple) -> None:
        if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(arguments[0])
        if path == told:
            return
        hidden = ""
        with suppress(FileNotFoundError):
            hidden = Path(told).read_text()
        if hidden and path.startswith(hidden):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    sys.addaudithook(refuse)
