"""Processes of a test that end together and leave nothing behind."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from conftest import ROOT

START_SECONDS = 400
RUN_SECONDS = 500
STOP_SECONDS = 15

PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A port of loopback that is free, and that no outgoing connection is given before it is used."""
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    while True:
        port = random.SystemRandom().randrange(10_000, max(first, 20_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def end_with_parent() -> None:
    """Ask Linux to end this process when the tests are killed and cannot do it."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Processes that end together, with all that they started.

    Args:
        folder: for their logs.
        environment: of all of them; `mark` is added, so that whatever they start can be found.
    """

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.mark = f"FACEPIPE_TEST={folder}"
        self.environment = environment | {"FACEPIPE_TEST": str(folder)}
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: object, **more: str) -> subprocess.Popen[bytes]:
        """Start `python -m COMMAND...`; its output goes to NAME.log."""
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=ROOT,
                env=self.environment | more,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_parent,
            )
        self.started.append(process)
        return process

    def run(self, *command: object, expect_failure: bool = False) -> str:
        """Run `python -m COMMAND...` to its end; return what it said."""
        done = self.attempt(*command)
        assert (done.returncode != 0) == expect_failure, done.stdout + done.stderr + self.logs()
        return done.stdout + done.stderr

    def attempt(self, *command: object) -> subprocess.CompletedProcess[str]:
        """Run `python -m COMMAND...` to whatever end."""
        return subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            stdin=subprocess.DEVNULL,
        )

    def logs(self) -> str:
        """The end of every log, for messages."""
        return "".join(
            f"\n--- {path.name}\n{path.read_text(errors='replace')[-2000:]}"
            for path in self.folder.glob("*.log")
        )

    def wait_until_well(self, url: str) -> None:
        """Wait until a service answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            ended = [process.args for process in self.started if process.poll() is not None]
            assert not ended, f"ended: {ended}{self.logs()}"
            assert time.monotonic() < deadline, f"{url} does not answer{self.logs()}"
            time.sleep(0.1)

    def left(self) -> list[int]:
        """Processes that were started by these, directly or not, and still run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes()
            except OSError:
                continue
            if f"{self.mark}\0".encode() in environment and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        return found

    def stop(self) -> None:
        """End all of them, the last one first; kill what does not end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in reversed(self.started):
                if process.poll() is None:
                    process.send_signal(number)
            deadline = time.monotonic() + STOP_SECONDS
            while any(process.poll() is None for process in self.started) and time.monotonic() < deadline:
                time.sleep(0.05)
        deadline = time.monotonic() + STOP_SECONDS
        while (left := self.left()) and time.monotonic() < deadline:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
