"""The network architectures that super-resolvers may have, as one explicit list. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facepipe.core.names import named


@dataclass(frozen=True)
class Architecture:
    """A kind of network, and the size in which it is trained here.

    Attributes:
        name: what weights files call it.
        colour: how colour is handled, for model cards.
        arguments: constructor arguments of a trained network beside its scale.
        learning_rate: of Adam, at which it learns well.
        bf16: whether training in bfloat16 saves time.
    """

    name: str
    colour: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: float = 2e-3
    bf16: bool = True


ARCHITECTURES = (
    Architecture(
        "espcn",
        "Y in 0..1 through the network, Cb and Cr by Pillow's bicubic",
        {"quantise": "round"},
        bf16=False,
    ),
    Architecture("compact", "RGB in 0..1", {"features": 48, "convolutions": 8}, learning_rate=1.5e-3),
)


SPANDREL = "spandrel"
"""What weights files call every network that spandrel builds, not facepipe; trained elsewhere."""


def get_architecture(name: str) -> Architecture:
    """Return the architecture of a name.

    Raises:
        UsageError: there is none of that name.
    """
    return named("architecture", name, ARCHITECTURES)
