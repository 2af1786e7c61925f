"""Which seeds belong to whom: faces for training, validation and test never meet."""

from __future__ import annotations

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown

RANGE = 2**40

PARTS = ("train", "validation", "test", "synthesize")
"""In the order of their ranges: each has 2**40 seeds of its own."""

FACES_PER_SEED = 2**20
"""Largest number of faces that `facepipe data synthesize` makes from one seed."""


def face_seed(part: str, index: int) -> int:
    """The seed of a part's face.

    Args:
        part: one of `PARTS`.
        index: 0 <= index < 2**40.

    Raises:
        UsageError: the part is unknown or the index is outside its range.
    """
    if part not in PARTS:
        raise unknown("part of the seeds", part, PARTS)
    if not 0 <= index < RANGE:
        raise UsageError(f"face {index} of {part!r}: expected an index from 0 to {RANGE - 1}")
    return PARTS.index(part) * RANGE + index


def part_of(seed: int) -> str:
    """The part that a seed belongs to."""
    if not 0 <= seed < RANGE * len(PARTS):
        raise UsageError(f"seed {seed}: expected 0 to {RANGE * len(PARTS) - 1}")
    return PARTS[seed // RANGE]


def synthesis_seed(seed: int, index: int) -> int:
    """The seed of the face `index` of `facepipe data synthesize --seed seed`."""
    if not 0 <= index < FACES_PER_SEED:
        raise UsageError(f"face {index}: one seed gives at most {FACES_PER_SEED} faces; take another seed")
    if not 0 <= seed < FACES_PER_SEED:
        raise UsageError(f"seed {seed}: expected 0 to {FACES_PER_SEED - 1}")
    return face_seed("synthesize", seed * FACES_PER_SEED + index)
