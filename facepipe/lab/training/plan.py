"""The plan that all trainings share: everything that determines one. Needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from facepipe.core.errors import UsageError
from facepipe.models.weights import check_name


@dataclass(frozen=True)
class Plan:
    """What is trained and for how long.

    Attributes:
        name: the name of the weights.
        arch: the network.
        steps: optimiser steps, or 0 where `minutes` decides.
        minutes: of training time, or 0 where `steps` decides; then the result depends on the machine's speed.
        batch: examples a step.
        learning_rate: of the optimiser, after a warm-up; falls along a half cosine.
        seed: of initial weights and of every draw.
        bf16: whether the network computes in bfloat16 while it learns.
        initial_sha256: `WeightsFile.identity` of the weights that it starts from, '' for weights of its own.
    """

    name: str
    arch: str
    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    learning_rate: float = 1e-3
    seed: int = 0
    bf16: bool = True
    initial_sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_name(self.name)
        given = (self.steps > 0) != (self.minutes > 0) and self.steps >= 0 and 0 <= self.minutes < math.inf
        if not given:
            raise UsageError("give either --steps or --minutes, above 0")
        if not 0 < self.learning_rate < math.inf or self.seed < 0:
            raise UsageError("--learning-rate must be above 0, --seed 0 or more")

    def share_done(self, step: int, seconds: float) -> float:
        """How much of the training is done, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * self.minutes))
