"""The plan of a super-resolver's training: everything that determines it."""

from __future__ import annotations

from dataclasses import dataclass, field

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.imaging.degrade import DEGRADATIONS
from facepipe.lab.training.plan import Plan
from facepipe.models.superres.architectures import Architecture, get_architecture

SCALES = (2, 4, 8, 16)


@dataclass(frozen=True)
class TrainingPlan(Plan):
    """What is trained, how and for how long.

    Attributes:
        arch: one of `architectures.ARCHITECTURES`.
        batch: patches a step.
        scale: enlargement factor.
        degradation: one of `degrade.DEGRADATIONS`.
        patch_px: largest side of a low-resolution patch.
        material_sha256: of what is trained on, see `training_data.TrainingData`.
    """

    learning_rate: float = 2e-3
    scale: int = field(kw_only=True)
    degradation: str = field(kw_only=True)
    patch_px: int = 24
    material_sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        super().__post_init__()
        get_architecture(self.arch)
        if self.scale not in SCALES:
            raise UsageError(f"--scale {self.scale}: use one of {', '.join(map(str, SCALES))}")
        if self.degradation not in DEGRADATIONS:
            raise unknown("degradation", self.degradation, DEGRADATIONS)
        if self.batch < 1 or self.patch_px < 8:
            raise UsageError("--batch must be 1 or more, --patch-px 8 or more")

    @property
    def architecture(self) -> Architecture:
        """The kind of network."""
        return get_architecture(self.arch)

    @property
    def low_px(self) -> int:
        """Side of the low-resolution images."""
        return NETWORK_PX // self.scale
