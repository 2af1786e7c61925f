"""The configuration of a surveillance run: one model for command line, YAML file and flow parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from facepipe.bench.config import MAX_TIMEOUT_S
from facepipe.core.paths import UserPath
from facepipe.imaging.images import MAX_PIXELS
from facepipe.imaging.pixel_aspect import parse_pixel_aspects
from facepipe.models.vrn.backends import BackendChoice, check_backend


class SurveilConfig(BaseModel):
    """Everything that `facepipe surveil` can be told. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inbox: UserPath = Field(description="Folder of images and videos, nested as it may be; it is only read.")
    out: UserPath = Field(description="Archive folder to write or to go on with.")
    method: str = Field("compact-camera", description="Super-resolution of faces below 128 px.")
    regressor: str = Field("vrn-compact", description="Volumetric regressor.")
    backend: BackendChoice = Field(
        "torch",
        description="What runs the regressor: torch-bf16 and, on the CPU, openvino are faster; "
        "auto takes the fastest.",
    )
    detector: str = Field("centerface", description="Face detector.")
    every: int | None = Field(
        None, ge=1, le=1_000_000, description="Look at every n-th frame of videos; default: one a second."
    )
    per_second: float | None = Field(
        None, ge=1e-5, le=1000, description="Look at so many frames of each second of a video, instead."
    )
    pixel_aspect: str = Field(
        "",
        description="Width to height of a pixel in videos that do not say, as 2:1, or by the size of frames, "
        "as 352x576=2:1,704x288=1:2.",
    )
    min_interocular_px: float = Field(
        8.0, ge=0, description="Faces with less between the eyes, were they frontal, are not restored, px."
    )
    retain_days: int | None = Field(
        None,
        ge=0,
        le=36_500,
        description="Delete images, volumes and meshes this many days after they were stored.",
    )
    no_pixels: bool = Field(False, description="Keep no image, volume or mesh, only the table.")
    reprocess: bool = Field(False, description="Do again what another configuration would change.")
    retry_failed: bool = Field(
        False, description="Do again inputs that killed their workers, hung, or failed unexpectedly."
    )
    cluster: str = Field(
        "local", description="'local', 'slurm', 'kubernetes', or the address of a Dask scheduler."
    )
    cluster_config: UserPath | None = Field(
        None, description="YAML file of what to ask Slurm or Kubernetes for."
    )
    workers: int | None = Field(None, ge=1, description="Local worker processes; default: all cores.")
    unit_timeout_s: float | None = Field(
        None,
        gt=0,
        le=MAX_TIMEOUT_S,
        description="Restart a worker that takes longer for a unit, s; default: by its size.",
    )
    worker_memory_gb: float | None = Field(
        None, gt=0, le=1e6, description="Memory of a local worker, GB; default: its share of the machine's."
    )
    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        le=1_000_000_000,
        description="Larger images and videos are not decoded, JPEG at reduced scale, px; more take memory.",
    )
    max_frames: int = Field(
        20_000, ge=1, le=1_000_000, description="Frames of one video that are looked at, at most."
    )
    max_seconds: float = Field(86_400.0, gt=0, le=1e7, description="How far into a video is looked, s.")
    settle_seconds: float = Field(
        60.0, ge=0, description="Files changed so recently wait for the next run, s."
    )
    wait: bool = Field(False, description="Wait while another run works on the archive.")
    wave_frames: int = Field(512, ge=1, description="Images and frames in work at a time.")

    @property
    def replaces(self) -> bool:
        """Whether inputs are done again that are in the table already."""
        return self.reprocess or self.retry_failed

    @field_validator("backend")
    @classmethod
    def _fastest(cls, value: BackendChoice) -> BackendChoice:
        """Which backend 'auto' is: a run is the same for who names it."""
        return check_backend(value) if value == "auto" else value

    @field_validator("inbox", "out", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, str | Path) and str(value) in ("", "."):
            raise ValueError("name a folder")
        return value

    @field_validator("pixel_aspect")
    @classmethod
    def _aspects(cls, value: str) -> str:
        parse_pixel_aspects(value)
        return value

    @model_validator(mode="after")
    def _one_frame_rule(self) -> SurveilConfig:
        if self.every is not None and self.per_second is not None:
            raise ValueError("every and per_second exclude each other: give one")
        return self
