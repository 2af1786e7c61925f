"""How a regressor is run: input range, channel order and batch norm, on which published ports disagree.

Stored in the weights' description (`WeightsInfo.usage`), hence part of the weights' identity and of a
run's. The defaults are how facepipe's own networks are trained.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from facepipe.core.errors import WeightsError
from facepipe.models.weights import WeightsFile

InputRange = Literal["-1..1", "0..1", "0..255", "128ths"]
ChannelOrder = Literal["rgb", "bgr"]
BatchNorm = Literal["running", "per-image"]
Corners = Literal["centres", "corners"]

INPUT_SCALES: dict[str, tuple[float, float]] = {
    "-1..1": (127.5, -1.0),
    "0..1": (255.0, 0.0),
    "0..255": (1.0, 0.0),
    "128ths": (128.0, -1.0),
}
"""Divisor and shift for each range: a grey level g becomes g / divisor + shift."""


@dataclass(frozen=True)
class Preprocessing:
    """How a network is run.

    Attributes:
        input_range: what grey levels 0..255 become; '128ths' is (g - 128) / 128.
        channel_order: of the input.
        batch_norm: 'running' uses the statistics of training; 'per-image' takes mean and variance of each
            image's own features, which is what batch norm in training mode does with a batch of one.
        upsampling: what of the grid of logits lies on what of the volume: pixel centres at half-integers, or
            the centres of the four corner pixels on one another (Torch7's bilinear upsampling).
    """

    input_range: InputRange = "-1..1"
    channel_order: ChannelOrder = "rgb"
    batch_norm: BatchNorm = "running"
    upsampling: Corners = "centres"

    @property
    def colour(self) -> str:
        """How colour is handled, as `WeightsInfo.colour` says it."""
        return f"{self.channel_order.upper()} scaled to {self.input_range}"

    def described(self) -> dict[str, str]:
        """What differs from the defaults, as `WeightsInfo.usage` holds it."""
        defaults = asdict(OWN)
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}


OWN = Preprocessing()
"""How facepipe's own networks are run."""

_CHOICES = {
    "input_range": get_args(InputRange),
    "channel_order": get_args(ChannelOrder),
    "batch_norm": get_args(BatchNorm),
    "upsampling": get_args(Corners),
}


def preprocessing_of(file: WeightsFile) -> Preprocessing:
    """How the network of a weights file is run.

    Raises:
        WeightsError: its description asks for something unknown.
    """
    return parse_preprocessing(file.info.usage, str(file.path))


def parse_preprocessing(values: Mapping[str, Any], name: str) -> Preprocessing:
    """How a network is run, from the fields that differ from the defaults and any others.

    Args:
        values: of `Preprocessing`.
        name: of the file, for messages.

    Raises:
        WeightsError: a field or its value is unknown.
    """
    for key, value in values.items():
        if value not in _CHOICES.get(key, ()):
            raise WeightsError(
                f"{name}: is to be run with {key} = {value!r}, which is unknown; it may need a newer facepipe"
            )
    return Preprocessing(**values)
