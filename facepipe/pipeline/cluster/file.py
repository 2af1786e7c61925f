"""The file of `--cluster-config`: what to ask Slurm or Kubernetes for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from facepipe.core.config_model import read_config_file, validated
from facepipe.core.errors import UsageError
from facepipe.core.paths import UserPath


class Limits(BaseModel):
    """How many workers of a group there may be.

    The run starts when `minimum` of them are there, and `maximum` are asked for while there is work
    for them. At least one stays, since a run may not change the kind of device it computes on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    minimum: int = Field(1, ge=1)
    maximum: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is more than maximum {self.maximum}")
        return self


class SlurmGroup(Limits):
    """Jobs of one kind; the limits count jobs."""

    workers_per_job: int = Field(1, ge=1, description="Worker processes of one thread in a job.")
    memory_gb: float = Field(4.0, gt=0, le=1e6, description="Memory of a job, GB.")
    walltime: str = Field("04:00:00", pattern=r"^(\d+-)?\d{1,2}(:\d{2}){1,2}$")
    partition: str | None = None
    account: str | None = None
    directives: tuple[str, ...] = Field((), description="More #SBATCH options, such as --gres=gpu:1.")
    prologue: tuple[str, ...] = Field((), description="Shell lines before the worker: module load ...")


class _ClusterFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    wait_minutes: float = Field(60.0, gt=0, le=1e5, description="How long to wait for the first workers.")
    idle_minutes: float = Field(
        5.0, ge=0, le=1e5, description="Workers above the minimum leave if idle so long."
    )


class SlurmFile(_ClusterFile):
    """What `--cluster slurm` asks for."""

    cpu: SlurmGroup
    gpu: SlurmGroup | None = None
    interface: str | None = Field(None, description="Network interface that nodes reach the driver by.")
    python: str | None = Field(None, description="Interpreter on the nodes; default: the one that runs.")
    folder: UserPath = Field(
        Path("slurm"),
        validate_default=True,
        description="Logs and certificates; on a file system of all nodes.",
    )
    scratch: UserPath | None = Field(None, description="Local disk of the nodes, for what workers spill.")


class KubernetesFile(_ClusterFile):
    """What `--cluster kubernetes` asks for."""

    manifest: Path = Field(description="A DaskCluster and, for GPU workers, a DaskWorkerGroup.")
    namespace: str = "facepipe"
    cpu: Limits
    gpu: Limits | None = None


def read_slurm_file(path: Path) -> SlurmFile:
    """Read what `--cluster slurm` asks for.

    Raises:
        UsageError: no such file, an unknown key (with a suggestion), or a wrong value.
    """
    return validated(SlurmFile, _groups(read_config_file(path), SlurmGroup, path), str(path))


def read_kubernetes_file(path: Path) -> tuple[KubernetesFile, list[dict[str, Any]]]:
    """Read what `--cluster kubernetes` asks for, and the resources of its manifest.

    Raises:
        UsageError: a file is missing or wrong, or the manifest lacks a resource.
    """
    file = validated(KubernetesFile, _groups(read_config_file(path), Limits, path), str(path))
    manifest = path.parent / file.manifest.expanduser()
    try:
        resources = [item for item in yaml.safe_load_all(manifest.read_text(encoding="utf-8")) if item]
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: manifest {manifest}: {' '.join(str(error).split())}") from error
    kinds = [item.get("kind") if isinstance(item, dict) else None for item in resources]
    for kind, wanted in (("DaskCluster", True), ("DaskWorkerGroup", file.gpu is not None)):
        if wanted and kinds.count(kind) != 1:
            raise UsageError(f"{manifest}: expected one {kind}, found {kinds.count(kind)}")
    return file, resources


def _groups(values: dict[str, Any], model: type[Limits], path: Path) -> dict[str, Any]:
    """Validate the groups first, so that an unknown key is compared with those of a group."""
    groups = {}
    for name in ("cpu", "gpu"):
        if values.get(name) is not None:
            if not isinstance(values[name], dict):
                raise UsageError(f"{path}: {name}: expected 'key: value' lines, got {values[name]!r}")
            groups[name] = validated(model, values[name], f"{path}: {name}")
    return values | groups
