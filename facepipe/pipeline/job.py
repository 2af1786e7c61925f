"""The protocol of jobs that the executor runs, and the outcome of a unit."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from facepipe.core.errors import EnvironmentTroubleError

Reasons = Mapping[int, tuple[str, str]]
"""Index of a sample -> (code, sentence): why it must not be touched, or was given up."""

_TROUBLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file may not grow any further (file size limit)",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EIO: "the disk failed",
    errno.ENOMEM: "no memory",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.ESTALE: "the network file system lost the folder",
    errno.ENOTCONN: "the file system is not connected",
    errno.EHOSTDOWN: "the network file system's host is down",
    errno.ETIMEDOUT: "the network file system does not answer",
}


class StagedUnit(Protocol):
    """The smallest thing that is scheduled, retried and resumed; its `str` names it in messages."""

    @property
    def stage(self) -> str:
        """The stage that it belongs to."""


U = TypeVar("U", bound=StagedUnit)
U_contra = TypeVar("U_contra", bound=StagedUnit, contravariant=True)


@dataclass(frozen=True)
class UnitReport:
    """What became of a unit.

    Attributes:
        samples: how many it has.
        quarantined: how many of them were given up.
        seconds: that it took.
        peak_mb: the most memory that its process had held since its start; the engine fills it in.
    """

    samples: int
    quarantined: int
    seconds: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Site:
    """Where a job reads and writes.

    Attributes:
        folder: where its units write, which every worker must see.
        files: (path, bytes) of some files that were listed; a worker that can read none of them is unfit.
    """

    folder: Path
    files: tuple[tuple[str, int], ...] = ()


class ListedFileGoneError(Exception):
    """Files that were listed are not there where the unit ran; the engine looks elsewhere before it blames.

    Args:
        worker: address of the worker on which they were not found.
        gone: index of a sample -> (code, sentence) for when nobody finds its file.
    """

    doubts_worker = True

    def __init__(self, worker: str, gone: Mapping[int, tuple[str, str]]) -> None:
        super().__init__(worker, gone)
        self.worker = worker
        self.gone = dict(gone)

    def __str__(self) -> str:
        first = next(iter(self.gone.values()))[1]
        return f"{len(self.gone)} listed files are gone on worker {self.worker}, such as: {first}"


class Job(Protocol[U_contra]):
    """Work cut into units. Small and picklable: it travels to the worker with every unit."""

    @property
    def gpu_stages(self) -> Collection[str]:
        """The stages that run networks, for which GPU workers are taken where there are any."""

    @property
    def site(self) -> Site:
        """What every worker must see."""

    def span(self, unit: U_contra) -> tuple[int, int]:
        """First and past-the-last index of the samples of a unit."""

    def run(self, unit: U_contra, skip: Reasons, device: str) -> UnitReport:
        """Do one unit, on a worker; it counts as done once its part is written.

        Args:
            unit: which part of the job.
            skip: samples that must not be touched, since they killed workers, with their reasons.
            device: where networks run; 'cuda' falls back to 'cpu' on a worker without one.

        Raises:
            EnvironmentTroubleError: disk or memory failed, or the worker's weights are not those of the run;
                nothing of the unit counts as done.
            ListedFileGoneError: files of samples that are not in `skip` are not there; nothing of the unit
                counts as done.
        """

    def probe(self, unit: U_contra, index: int, skip: Reasons, device: str) -> None:
        """Do a unit's work on one sample alone and throw the result away: does it kill the worker?"""


@contextmanager
def environment_trouble(unit: Any) -> Iterator[None]:
    """Turn failures of disk and memory within a unit into trouble of the environment, which blames no sample.

    Raises:
        EnvironmentTroubleError: the disk is full, memory is gone, and the like; other errors pass unchanged.
    """
    try:
        yield
    except MemoryError as error:
        raise EnvironmentTroubleError(f"{unit}: no memory left on the worker") from error
    except OSError as error:
        trouble = _TROUBLE.get(error.errno or 0)
        if trouble is None:
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise EnvironmentTroubleError(
            f"{unit}: {trouble}{where}; once that is mended, the same command goes on from here"
        ) from error
