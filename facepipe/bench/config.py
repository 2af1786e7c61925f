"""The configuration of a benchmark run: one model for command line, YAML file and flow parameters."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from facepipe.bench.external_results import FRAMES
from facepipe.core.config_model import validated
from facepipe.core.conventions import NETWORK_PX
from facepipe.core.names import unknown
from facepipe.core.paths import UserPath, absolute
from facepipe.datasets.catalog import SAMPLE_NAME
from facepipe.geometry.voxelisation import VOXELISERS
from facepipe.imaging.degrade import DEGRADATIONS
from facepipe.models.vrn.backends import BackendChoice, check_backend

IDENTITY_FIELDS = (
    "dataset",
    "kind",
    "crop",
    "degradations",
    "low_px",
    "methods",
    "regressors",
    "results",
    "frame",
    "backend",
    "limit",
    "subsets",
    "split",
    "min_yaw_deg",
    "max_yaw_deg",
    "filling",
    "seed",
)
"""The fields that determine a run's tables; the others only say how the work is done."""


MAX_TIMEOUT_S = 1e6
"""Longest limit of a unit, 12 days: timers take no more than `threading.TIMEOUT_MAX`."""


class BenchConfig(BaseModel):
    """Everything that `facepipe bench` can be told. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: str = Field("sample", description="Folder of a data set, or 'sample' for the shipped faces.")
    out: UserPath | None = Field(
        None,
        description="Run folder to write or to resume; default: a folder in runs/ named by these options.",
    )
    kind: str = Field(
        "auto", description="Kind of data set, or a plug-in; `facepipe data inspect` says which."
    )
    crop: Literal["full", "face", "landmarks"] = Field("full", description="Which square the networks see.")
    degradations: tuple[str, ...] = Field(
        ("area",), description=f"How images lose resolution: {', '.join(DEGRADATIONS)}."
    )
    low_px: tuple[int, ...] = Field((16, 32, 64), description="Sides of the low-resolution images, px.")
    methods: tuple[str, ...] = Field(
        ("all",),
        description="nearest, bilinear, bicubic, lanczos, names of weights (`facepipe models list`), 'all', "
        "file:PATH, plug-ins.",
    )
    regressors: tuple[str, ...] = Field(
        ("vrn-compact",), description="Regressors (`facepipe models list`), plug-ins, 'all', 'none'."
    )
    metrics: tuple[str, ...] = Field(
        (), description="Metrics of plug-ins, a column each beside those that every run has."
    )
    results: tuple[str, ...] = Field(
        (),
        description="NAME=FOLDER of meshes or volumes that another program made of the same images; they are "
        "scored beside the regressors, as regressor NAME.",
    )
    frame: Literal["auto", *FRAMES] = Field(  # type: ignore[valid-type]
        "auto",
        description="Coordinates of their meshes: pixels of the photo (image), of the 128-px reference "
        "(crop), those of facepipe's mesh files (file), or whichever fits the faces.",
    )
    backend: BackendChoice = Field(
        "torch",
        description="What runs regressors: torch-bf16 and, on the CPU, openvino are faster; "
        "auto takes the fastest.",
    )
    limit: int | None = Field(None, ge=1, description="Take only the first samples.")
    subsets: tuple[str, ...] = Field((), description="Take only these subsets of the data set.")
    split: Literal["training", "validation", "test"] | None = Field(
        None, description="Take only this part of the data set; poses of one photo stay together."
    )
    min_yaw_deg: float | None = Field(None, ge=0, description="Take only faces turned at least so far.")
    max_yaw_deg: float | None = Field(None, gt=0, description="Take only faces turned at most so far.")
    model: UserPath | None = Field(
        None, description="Morphable model of the data set's dense truth: its file or folder."
    )
    filling: str = Field("exact", description="How dense truth is filled: exact, columns-2019.")
    seed: int = Field(0, ge=0, description="Seed of the random degradations.")
    cluster: str = Field(
        "local", description="'local', 'slurm', 'kubernetes', or the address of a Dask scheduler."
    )
    cluster_config: UserPath | None = Field(
        None, description="YAML file of what to ask Slurm or Kubernetes for."
    )
    workers: int | None = Field(None, ge=1, description="Local worker processes; default: all cores.")
    shard_size: int = Field(16, ge=1, le=256, description="Samples in a shard.")
    keep: Literal["all", "scores"] = Field("all", description="Keep arrays, or only tables.")
    disk_gb: float = Field(50.0, gt=0, le=1e9, description="Disk that arrays may take at a time, GB.")
    unit_timeout_s: float | None = Field(
        None,
        ge=1,
        le=MAX_TIMEOUT_S,
        description="Longest time for a unit, then its worker is restarted; default: 300 s + 120 s a sample.",
    )
    worker_memory_gb: float | None = Field(
        None, gt=0, le=1e6, description="Memory of a local worker, GB; default: its share of the machine."
    )

    @field_validator("backend")
    @classmethod
    def _fastest(cls, value: BackendChoice) -> BackendChoice:
        """Which backend 'auto' is: a run is the same for who names it."""
        return check_backend(value) if value == "auto" else value

    @field_validator(
        "degradations", "low_px", "methods", "regressors", "metrics", "results", "subsets", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Accept 'a,b' for ['a', 'b'] and drop repetitions, keeping the order."""
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, int):
            value = [value]
        if isinstance(value, list | tuple):
            return tuple(part for i, part in enumerate(value) if part not in value[:i])
        return value

    @field_validator("out", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str | Path) and str(value) in ("", "."):
            raise ValueError("name a folder for the run")
        return value

    @field_validator("dataset")
    @classmethod
    def _absolute(cls, value: str) -> str:
        return value if value in ("", SAMPLE_NAME) else str(absolute(value))

    @field_validator("degradations")
    @classmethod
    def _known_degradations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in DEGRADATIONS:
                raise ValueError(str(unknown("degradation", name, DEGRADATIONS)))
        return _not_empty(value)

    @field_validator("filling")
    @classmethod
    def _known_filling(cls, value: str) -> str:
        if value not in VOXELISERS:
            raise ValueError(str(unknown("filling", value, VOXELISERS)))
        return value

    @field_validator("low_px")
    @classmethod
    def _sizes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        for px in value:
            if not 4 <= px < NETWORK_PX:
                raise ValueError(f"{px} px is not a low resolution: 4 to {NETWORK_PX - 1} are")
        return _not_empty(value)

    @field_validator("methods", "regressors")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _not_empty(value)

    @property
    def folder(self) -> Path:
        """The run folder: `out`, or one in runs/ that only this configuration has."""
        if self.out is not None:
            return self.out
        here = Path.cwd()
        dataset = Path(self.dataset)
        named = str(dataset.relative_to(here)) if dataset.is_relative_to(here) else self.dataset
        identity = self.identity() | {"dataset": named}
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        return here / "runs" / f"{Path(self.dataset).resolve().name}-{digest[:8]}"

    def identity(self) -> dict[str, Any]:
        """The part that determines the tables, as plain JSON values."""
        return self.model_dump(mode="json", include=set(IDENTITY_FIELDS))


def _not_empty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise ValueError("at least one is needed")
    return value


def make_config(values: dict[str, Any], where: str = "configuration") -> BenchConfig:
    """Build the configuration of a benchmark run from plain values; raises as `validated`."""
    return validated(BenchConfig, values, where)
