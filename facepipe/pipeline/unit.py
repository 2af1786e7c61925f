"""Units: the smallest pieces of work that are scheduled, retried and resumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


class Key(Protocol):
    """What tells the units of a stage apart beside their shard: a condition, or a wave of frames."""

    @property
    def key(self) -> tuple[str, ...]:
        """The parts of its path below a stage."""


C = TypeVar("C", bound=Key)


@dataclass(frozen=True)
class Unit(Generic[C]):
    """Stage x condition x shard: the smallest thing that is scheduled, retried and resumed."""

    stage: str
    condition: C
    shard: int

    def __str__(self) -> str:
        return f"{self.stage} {self.condition} shard {self.shard}"
