"""`--cluster slurm`: workers as Slurm jobs, the scheduler in the process that runs the benchmark."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Scheduler, SpecCluster
from distributed.security import Security

from facepipe.core.errors import EnvironmentTroubleError, UsageError
from facepipe.pipeline.cluster.file import SlurmFile, SlurmGroup
from facepipe.pipeline.cluster.scaling import scaling, wait_for
from facepipe.pipeline.cluster.worker_settings import CONFIG, GPU_RESOURCES, WORKER_ENVIRONMENT

NEEDED_PROGRAMS = ("sbatch", "scancel")
LOOKS_UNTIL_LOST = 15
"""A job whose workers are gone so many looks in a row is replaced; a nanny restarts its worker sooner."""


def job_options(file: SlurmFile, group: SlurmGroup, gpu: bool) -> dict[str, Any]:
    """The arguments of dask-jobqueue's `SLURMJob` for the jobs of a group."""
    arguments = ["--resources", GPU_RESOURCES] if gpu else []
    tls = Security().get_tls_config_for_role("worker")
    for key in ("ca_file", "cert", "key"):
        arguments += [f"--tls-{key.replace('_', '-')}", tls[key]] if tls.get(key) else []
    return {
        "cores": group.workers_per_job,
        "processes": group.workers_per_job,
        "memory": f"{group.memory_gb}GB",
        "queue": group.partition,
        "account": group.account,
        "walltime": group.walltime,
        "python": file.python,
        "protocol": "tls",
        "interface": file.interface,
        "log_directory": str(file.folder.resolve()),
        "local_directory": str(file.scratch) if file.scratch else None,
        "job_name": f"facepipe-{'gpu' if gpu else 'cpu'}",
        "job_extra_directives": list(group.directives),
        "job_script_prologue": [
            *(f"export {name}={value}" for name, value in WORKER_ENVIRONMENT.items()),
            *group.prologue,
        ],
        "worker_extra_args": [*arguments, "--no-dashboard"],
    }


class SlurmCluster(SpecCluster):
    """A scheduler in this process and jobs in groups.

    Args:
        file: what to ask for.
        jobs: options of `SLURMJob` by the group's name.
    """

    def __init__(self, file: SlurmFile, jobs: Mapping[str, dict[str, Any]]) -> None:
        self.jobs = dict(jobs)
        self.numbers = count()
        self.seen_missing: dict[str, int] = {}
        options = {"protocol": "tls", "dashboard_address": "127.0.0.1:0", "interface": file.interface}
        super().__init__(
            scheduler={"cls": Scheduler, "options": options}, name="facepipe", silence_logs="critical"
        )

    def resize(self, group: str, n: int) -> None:
        """Have `n` jobs of a group: submit, cancel, replace lost ones.

        Raises:
            RuntimeError: Slurm refused a job; the next call tries again.
        """
        self.sync(self._resize, group, n)

    async def _resize(self, group: str, n: int) -> None:
        for name in self._lost(group):
            del self.worker_spec[name]
        names = [name for name in self.worker_spec if name.startswith(group)]
        # Those that still wait in the queue go first.
        present = self._present()
        names.sort(key=lambda name: (name not in present, name))
        for name in names[n:]:
            del self.worker_spec[name]
        for _ in range(n - len(names)):
            self.worker_spec[f"{group}-{next(self.numbers)}"] = self._specification(group)
        try:
            await self._correct_state()
        finally:
            self._forget_refused()

    def _forget_refused(self) -> None:
        """A job without a number was never accepted; there is nothing to cancel."""
        for name, job in list(self.workers.items()):
            if job.job_id is None:
                del self.workers[name]
                self.worker_spec.pop(name, None)
                self._created.discard(job)

    def _specification(self, group: str) -> dict[str, Any]:
        load_jobqueue()
        from dask_jobqueue.slurm import SLURMJob

        options = self.jobs[group]
        several = options["processes"] > 1
        suffixes = {"group": [f"-{i}" for i in range(options["processes"])]} if several else {}
        return {"cls": SLURMJob, "options": options, **suffixes}

    def _present(self) -> set[str]:
        workers = {worker["name"] for worker in self.scheduler_info["workers"].values()}
        return {
            name
            for name, job in self.worker_spec.items()
            if workers & {f"{name}{suffix}" for suffix in job.get("group", [""])}
        }

    def _lost(self, group: str) -> list[str]:
        """Jobs that had workers and have none any more: past their walltime, preempted, node failed."""
        present = self._present()
        for name in present:
            self.seen_missing[name] = 0
        for name in self.seen_missing.keys() - present:
            self.seen_missing[name] += name.startswith(group)
        return [
            name
            for name, looks in self.seen_missing.items()
            if looks >= LOOKS_UNTIL_LOST and name in self.worker_spec and name.startswith(group)
        ]


@contextmanager
def open_slurm(file: SlurmFile) -> Iterator[str]:
    """Submit jobs, wait for the first workers, follow the work, and cancel all jobs in the end.

    Yields:
        The scheduler's address. Its connections are encrypted and authenticated by certificates that
        live as long as the cluster, in `file.folder`; Dask's configuration in this process names them.

    Raises:
        UsageError: the package or Slurm's programs are missing.
        EnvironmentTroubleError: a job was refused, or none has started in time.
    """
    _check_programs()
    groups = {"cpu": file.cpu} | ({"gpu": file.gpu} if file.gpu else {})
    file.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tls-", dir=file.folder) as folder,
        dask.config.set(CONFIG | _certificates(Path(folder).resolve())),
        SlurmCluster(
            file, {name: job_options(file, groups[name], name == "gpu") for name in groups}
        ) as cluster,
    ):
        try:
            for name, group in groups.items():
                cluster.resize(name, group.minimum)
        except (OSError, RuntimeError, ValueError) as error:
            raise EnvironmentTroubleError(f"Slurm refused a job: {' '.join(str(error).split())}") from error
        with Client(cluster.scheduler_address, set_as_default=False) as client:
            least = {name: group.minimum * group.workers_per_job for name, group in groups.items()}
            hint = f"`squeue --me` says what jobs wait for, {file.folder} has their output"
            wait_for(client, least, file.wait_minutes * 60, hint)
            with scaling(client, groups, file.idle_minutes * 60, cluster.resize):
                yield cluster.scheduler_address


def load_jobqueue() -> None:
    """Import dask-jobqueue, and let Ctrl-C do what it did before: the import makes it leave without a word.

    Raises:
        ImportError: it is not installed.
    """
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue  # noqa: F401

    if signal.getsignal(signal.SIGINT) is not before and before is not None:
        signal.signal(signal.SIGINT, before)


def _check_programs() -> None:
    try:
        load_jobqueue()
    except ImportError as error:
        raise UsageError("--cluster slurm needs dask-jobqueue: pip install 'facepipe[slurm]'") from error
    missing = [name for name in NEEDED_PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"--cluster slurm: {' and '.join(missing)} not found; run this on a node that can submit jobs"
        )


def _certificates(folder: Path) -> dict[str, str]:
    """Write a key and a certificate of this cluster alone; return the configuration that names them."""
    generated = Security.temporary()
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    with open(key, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
        out.write(generated.tls_client_key)
    certificate.write_text(generated.tls_ca_file)
    names = {"distributed.comm.tls.ca-file": str(certificate)}
    for role in ("client", "scheduler", "worker"):
        names |= {
            f"distributed.comm.tls.{role}.key": str(key),
            f"distributed.comm.tls.{role}.cert": str(certificate),
        }
    return names
