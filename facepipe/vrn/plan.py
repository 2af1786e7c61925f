"""What a training of a regressor is determined by."""

from __future__ import annotations

from dataclasses import dataclass

from facepipe.errors import UsageError
from facepipe.vrn.architectures import TrainableArchitecture, trainable
from facepipe.vrn.examples import Recipe
from facepipe.weights import check_name

WARM_UP_STEPS = 100
"""Steps in which the learning rate rises from 0: AdamW's first steps are as long as all others."""


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, how and for how long.

    Attributes:
        name: the name of the weights.
        arch: one of `architectures.TRAINABLE`.
        steps: optimiser steps, or 0 where `minutes` decides.
        minutes: of training time, or 0 where `steps` decides; then the result depends on the machine's speed.
        batch: examples a step.
        learning_rate: of AdamW, after a warm-up; falls along a half cosine.
        seed: of initial weights and of every face and draw.
        faces: faces a block, see `examples.Recipe`.
        views: examples a face.
        low_resolution: whether it is trained on pictures of low resolutions.
        bf16: whether the network computes in bfloat16.
        ranks: processes that train together, each on blocks and batches of its own.
        initial_sha256: of the weights file that it starts from, '' for random weights.
    """

    name: str
    arch: str = "compact"
    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    faces: int = 64
    views: int = 4
    low_resolution: bool = False
    bf16: bool = True
    ranks: int = 1
    initial_sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_name(self.name)
        if (self.steps > 0) == (self.minutes > 0) or self.steps < 0 or self.minutes < 0:
            raise UsageError("give either --steps or --minutes, above 0")
        if self.batch < 2 or not self.learning_rate > 0:
            raise UsageError("--batch must be 2 or more, --learning-rate above 0")
        if self.recipe.length % self.batch:
            raise UsageError(
                f"--batch {self.batch}: {self.faces} faces in {self.views} views are no multiple of it; "
                "use a power of 2"
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
        )

    @property
    def steps_per_block(self) -> int:
        """Optimiser steps that a block is good for."""
        return self.recipe.length // self.batch

    def share_done(self, step: int, seconds: float) -> float:
        """How much of the training is done, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * self.minutes))
