"""Attributes of a person (sex, age, ancestry, weight, muscle) and their distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHILD_AGE, YOUNG_AGE, OLD_AGE = 0.1875, 0.5, 1.0
"""Where MakeHuman's child (about 10 years), young (25) and old (90) targets stand on its age scale."""


@dataclass(frozen=True)
class Attributes:
    """A person's kind, every value in 0..1.

    Attributes:
        male: 0 female, 1 male.
        age: 0.19 a child, 0.5 young, 1 old.
        ancestry: shares of the African, Asian and European targets; they sum to one.
        weight, muscle: 0.5 is average.
    """

    male: float
    age: float
    ancestry: tuple[float, float, float]
    weight: float
    muscle: float

    def age_weights(self) -> dict[str, float]:
        """Linear weights of the targets child, young and old."""
        if self.age < YOUNG_AGE:
            young = (self.age - CHILD_AGE) / (YOUNG_AGE - CHILD_AGE)
            return {"child": 1 - young, "young": young, "old": 0.0}
        old = (self.age - YOUNG_AGE) / (OLD_AGE - YOUNG_AGE)
        return {"child": 0.0, "young": 1 - old, "old": old}

    def terms(self) -> NDArray[np.float32]:
        """The terms (18,) from which the mean shape of this kind follows linearly."""
        ages = self.age_weights()
        african, asian, _ = self.ancestry
        child, old, male = ages["child"], ages["old"], self.male - 0.5
        weight, muscle = self.weight - 0.5, self.muscle - 0.5
        return np.array(
            [
                1.0, child, old, male, child * male, old * male,
                african, asian, african * male, asian * male, african * child, asian * child,
                african * old, asian * old, weight, weight * male, abs(weight), muscle,
            ],
            np.float32,
        )  # fmt: skip


def draw_attributes(rng: np.random.Generator) -> Attributes:
    """Draw a person: genders balanced, mostly adults, ancestries mixed evenly."""
    male = rng.uniform(0, 0.3) if rng.random() < 0.5 else rng.uniform(0.7, 1.0)
    band = rng.random()
    if band < 0.10:
        age = rng.uniform(0.2, 0.38)
    elif band < 0.60:
        age = rng.uniform(0.42, 0.62)
    else:
        age = rng.uniform(0.62, 1.0)
    african, asian, european = rng.dirichlet((0.4, 0.4, 0.4))
    weight = float(np.clip(rng.normal(0.5, 0.18), 0.05, 0.95))
    muscle = float(np.clip(rng.normal(0.5, 0.18), 0.05, 0.95))
    return Attributes(
        float(male), float(age), (float(african), float(asian), float(european)), weight, muscle
    )
