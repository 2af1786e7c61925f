"""The networks that `facepipe train vrn` trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from facepipe.core.conventions import VOLUME_DEPTH, VolumeGeometry
from facepipe.core.names import named


@dataclass(frozen=True)
class TrainableArchitecture:
    """A network with the volumes that it learns to give.

    Attributes:
        name: what `--arch` calls it.
        architecture: one of `regressors.ARCHITECTURES`.
        arguments: of its class.
        geometry: of its volumes.
        stride: pixels of its input for one cell of the grid on which it predicts.
    """

    name: str
    architecture: str
    arguments: Mapping[str, int]
    geometry: VolumeGeometry
    stride: int = 4

    @property
    def target_px(self) -> int:
        """Side of the grid on which it predicts and is supervised."""
        return self.geometry.size // self.stride


COMPACT_GEOMETRY = VolumeGeometry(z_zero=80.0)
"""A turned face may be 80 px deep and the volume holds 67: 40 of them before z = 0, so that where something
is cut off it is the back, never the nose."""

TRAINABLE = (
    TrainableArchitecture(
        "compact",
        "hourglass",
        {
            "channels": 128,
            "stages": 1,
            "depth": 4,
            "slices": VOLUME_DEPTH,
            "refinement": 64,
            "context": 192,
        },
        COMPACT_GEOMETRY,
        stride=2,
    ),
    # The study's slices are pixels of its images of 450 px, of which it saw 128: the volume holds 57 px of
    # depth. 37 of them before z = 0 cut off no more noses than the 40 of `compact`, while 34, with z_zero 80,
    # would cut off three times as many (docs/decisions/041-how-regressors-are-trained.md).
    TrainableArchitecture(
        "hourglass-128",
        "thirds",
        {"channels": 224, "stages": 2, "modules": 2, "depth": 4, "slices": VOLUME_DEPTH},
        VolumeGeometry(spacing=(128 / 450, 1.0, 1.0), z_zero=70.0),
        stride=1,
    ),
    TrainableArchitecture(
        "vrn-192",
        "vrn",
        {"channels": 256, "stages": 2, "depth": 4, "slices": VOLUME_DEPTH},
        VolumeGeometry(size=192, spacing=(0.5, 1.0, 1.0), z_zero=80.0),
    ),
)


def trainable(name: str) -> TrainableArchitecture:
    """Return the architecture of a name.

    Raises:
        UsageError: there is none.
    """
    return named("architecture", name, TRAINABLE)
