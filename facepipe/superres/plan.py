"""What a training of a super-resolver is determined by."""

from __future__ import annotations

from dataclasses import dataclass

from facepipe.conventions import NETWORK_PX
from facepipe.degrade import DEGRADATIONS
from facepipe.errors import UsageError
from facepipe.registry import unknown
from facepipe.superres.architectures import Architecture, get_architecture
from facepipe.weights import check_name

SCALES = (2, 4, 8, 16)


@dataclass(frozen=True)
class TrainingPlan:
    """What is trained, how and for how long.

    Attributes:
        name: the name of the weights.
        arch: one of `architectures.ARCHITECTURES`.
        scale: enlargement factor.
        degradation: one of `degrade.DEGRADATIONS`.
        steps: optimiser steps, or 0 where `minutes` decides.
        minutes: of training time, or 0 where `steps` decides; then the result depends on the machine's speed.
        batch: patches a step.
        patch_px: largest side of a low-resolution patch.
        learning_rate: of Adam at the start; falls along a half cosine.
        seed: of initial weights and of every draw.
        bf16: whether the network computes in bfloat16 while it learns.
        initial_sha256: of the weights file that it starts from, '' for initial weights of its own.
    """

    name: str
    arch: str
    scale: int
    degradation: str
    steps: int = 0
    minutes: float = 0.0
    batch: int = 16
    patch_px: int = 24
    learning_rate: float = 2e-3
    seed: int = 0
    bf16: bool = True
    initial_sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_name(self.name)
        get_architecture(self.arch)
        if self.scale not in SCALES:
            raise UsageError(f"--scale {self.scale}: use one of {', '.join(map(str, SCALES))}")
        if self.degradation not in DEGRADATIONS:
            raise unknown("degradation", self.degradation, DEGRADATIONS)
        if (self.steps > 0) == (self.minutes > 0) or self.steps < 0 or self.minutes < 0:
            raise UsageError("give either --steps or --minutes, above 0")
        if self.batch < 1 or self.patch_px < 8 or not self.learning_rate > 0:
            raise UsageError("--batch must be 1 or more, --patch-px 8 or more, --learning-rate above 0")

    @property
    def architecture(self) -> Architecture:
        """The kind of network."""
        return get_architecture(self.arch)

    @property
    def low_px(self) -> int:
        """Side of the low-resolution images."""
        return NETWORK_PX // self.scale

    def share_done(self, step: int, seconds: float) -> float:
        """How much of the training is done, 0 to 1."""
        return min(1.0, step / self.steps if self.steps else seconds / (60 * self.minutes))
