"""What a training of a regressor is determined by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from facepipe.core.errors import UsageError
from facepipe.lab.training.plan import Plan
from facepipe.lab.training.preflight import check_init
from facepipe.lab.vrn.examples import Recipe
from facepipe.lab.vrn.photo_examples import PhotoSet
from facepipe.models.vrn.architectures import TrainableArchitecture, trainable
from facepipe.models.vrn.regressors import open_regressor
from facepipe.models.weights import WeightsFile

Precision = Literal["bf16", "fp32"]


def default_name(arch: str, *, low_resolution: bool) -> str:
    """What weights are called that got no name."""
    return f"vrn-{arch}{'-lowres' if low_resolution else ''}"


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """What is trained, how and for how long.

    Attributes:
        arch: one of `architectures.TRAINABLE`.
        faces: faces a block, see `examples.Recipe`.
        views: examples a face.
        low_resolution: whether it is trained on pictures of low resolutions.
        ranks: processes that train together, each on blocks and batches of its own.
        photos: folder of annotated photographs that are mixed in, '' for drawn faces alone.
        photos_sha256: digest of what is known about them.
        photo_share: how many examples show photographs.
    """

    arch: str = "compact"
    faces: int = 64
    views: int = 4
    low_resolution: bool = False
    ranks: int = 1
    photos: str = ""
    photos_sha256: str = ""
    photo_share: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        super().__post_init__()
        if self.batch < 2 or self.faces < 1 or self.views < 1:
            raise UsageError("--batch must be 2 or more, --views 1 or more")
        if self.recipe.length % self.batch:
            raise UsageError(
                f"--batch {self.batch}: {self.faces} faces in {self.views} views are {self.recipe.length} "
                f"examples, which must be a multiple of it: use a power of 2 up to {self.recipe.length}; "
                "larger batches need more --views"
            )

    @property
    def architecture(self) -> TrainableArchitecture:
        """The network and its volumes."""
        return trainable(self.arch)

    @property
    def recipe(self) -> Recipe:
        """What it is trained on."""
        architecture = self.architecture
        return Recipe(
            self.seed,
            architecture.geometry,
            architecture.target_px,
            self.faces,
            self.views,
            self.low_resolution,
            PhotoSet(self.photos) if self.photos else None,
            self.photo_share,
        )

    @property
    def steps_per_block(self) -> int:
        """Optimiser steps that a block is good for."""
        return self.recipe.length // self.batch


def plan_training(
    *,
    name: str | None,
    arch: str,
    steps: int,
    minutes: float,
    batch: int,
    learning_rate: float,
    seed: int,
    views: int,
    low_resolution: bool,
    init: str | None,
    precision: Precision,
    photos: Path | None = None,
    photo_share: float = 0.0,
) -> tuple[TrainingPlan, WeightsFile | None]:
    """Make the plan that the options of `facepipe train vrn` ask for.

    Args:
        name: of the weights, None for `default_name`.
        arch, steps, minutes, batch, learning_rate, seed, views, low_resolution: see `TrainingPlan`.
        init: name or file of the weights to start from, None for random ones.
        precision: of the network while it learns.
        photos: folder of annotated photographs to mix in, None for drawn faces alone.
        photo_share: how many examples show photographs.

    Returns:
        The plan and the weights that it starts from.

    Raises:
        UsageError: there is no such architecture or no such weights, or it cannot be trained like that.
    """
    initial = open_regressor(check_init(init)).file if init else None
    plan = TrainingPlan(
        name or default_name(arch, low_resolution=low_resolution),
        arch,
        steps,
        minutes,
        batch,
        learning_rate,
        seed,
        views=views,
        low_resolution=low_resolution,
        bf16=precision == "bf16",
        initial_sha256=initial.identity if initial else "",
        photos=str(photos) if photos else "",
        photos_sha256=PhotoSet(str(photos)).sha256() if photos else "",
        photo_share=photo_share if photos else 0.0,
    )
    return plan, initial
