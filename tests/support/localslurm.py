"""`sbatch` and `scancel` that run jobs as processes of this machine, so that real job scripts really run."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

SBATCH = """#!{python}
import os, pathlib, shutil, subprocess, sys
folder = pathlib.Path({folder!r})
number = 1 + len(list(folder.glob("*.sh")))
script = folder / f"{{number}}.sh"
shutil.copy(sys.argv[-1], script)
with (folder / f"{{number}}.out").open("w") as out:
    job = subprocess.Popen(
        ["bash", str(script)], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
    )
(folder / f"{{number}}.pid").write_text(str(job.pid))
print(f"Submitted batch job {{number}}")
"""

SCANCEL = """#!{python}
import os, pathlib, signal, sys
pid = int((pathlib.Path({folder!r}) / f"{{sys.argv[-1]}}.pid").read_text())
try:
    os.killpg(pid, signal.SIGTERM)
except ProcessLookupError:
    sys.exit("no such job")
"""


class LocalSlurm:
    """The programs, in a folder that can be put on PATH, and what became of the jobs.

    Args:
        folder: an empty folder for programs, job scripts and their output.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
            program = self.programs / name
            program.write_text(text.format(python=sys.executable, folder=str(folder)))
            program.chmod(0o755)

    def scripts(self) -> list[str]:
        """The job scripts in the order of their submission."""
        return [path.read_text() for path in sorted(self.folder.glob("*.sh"), key=lambda p: int(p.stem))]

    def running(self) -> list[int]:
        """Process groups of jobs that still run."""
        return [pid for pid in self._pids() if _alive(pid)]

    def wait(self, seconds: float = 60) -> None:
        """Wait until no job runs; a cancelled one takes a moment to end."""
        deadline = time.monotonic() + seconds
        while self.running():
            assert time.monotonic() < deadline, f"still running: {self.running()}"
            time.sleep(0.1)

    def kill(self, number: int) -> None:
        """End a job as a failing node does."""
        os.killpg(int((self.folder / f"{number}.pid").read_text()), signal.SIGKILL)

    def close(self) -> None:
        """Leave nothing running."""
        for pid in self.running():
            os.killpg(pid, signal.SIGKILL)

    def _pids(self) -> list[int]:
        return [int(path.read_text()) for path in self.folder.glob("*.pid")]


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    # A killed process that nobody has waited for is no longer running.
    return any(
        stat.split(")")[-1].split()[0] != "Z" and int(stat.split(")")[-1].split()[2]) == group
        for stat in _stats()
    )


def _stats() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            found.append(path.read_text())
        except OSError:
            continue
    return found
