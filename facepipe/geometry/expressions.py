"""Random facial expressions: strengths of face units, distributed as in photographs."""

from __future__ import annotations

import numpy as np

SIDES = ("Left", "Right")


def draw_expression(rng: np.random.Generator, unit_names: list[str]) -> dict[str, float]:
    """Draw face units and their strengths 0..1: neutral, smiling, talking, or something else.

    Args:
        unit_names: the units that the head knows.
    """
    units: dict[str, float] = {}

    def both(name: str, strength: float, uneven: float = 0.12) -> None:
        for side in SIDES:
            value = float(np.clip(strength * (1 + uneven * rng.normal()), 0, 1))
            units[name + side] = max(units.get(name + side, 0.0), value)

    mood = rng.random()
    both("eyeBlink", abs(rng.normal()) * 0.10)
    if mood < 0.32:
        both("mouthSmile", abs(rng.normal()) * 0.12)
    elif mood < 0.66:
        smile = rng.uniform(0.2, 0.9)
        both("mouthSmile", smile)
        both("cheekSquint", smile * rng.uniform(0.2, 0.8))
        both("eyeSquint", smile * rng.uniform(0, 0.5))
        if rng.random() < 0.55:
            both("mouthUpperUp", smile * rng.uniform(0.1, 0.5))
            units["jawOpen"] = float(rng.uniform(0.03, 0.18))
    elif mood < 0.82:
        units["jawOpen"] = float(rng.uniform(0.1, 0.7))
        both("mouthStretch", rng.uniform(0, 0.35))
        if rng.random() < 0.4:
            both("browOuterUp", rng.uniform(0, 0.6))
            units["browInnerUp"] = float(rng.uniform(0, 0.6))
            both("eyeWide", rng.uniform(0, 0.5))
    else:
        skipped = ("eyeLook", "tongue", "mouthClose", "jawForward")
        choices = [name for name in unit_names if not name.startswith(skipped)]
        for name in rng.choice(choices, 5, replace=False):
            stem = str(name)
            for side in SIDES:
                stem = stem.removesuffix(side)
            strength = float(rng.uniform(0, 0.7))
            if stem != name and rng.random() < 0.75:
                both(stem, strength)
            else:
                units[str(name)] = strength
    if rng.random() < 0.04:
        both("eyeBlink", rng.uniform(0.6, 1.0))
    return {name: value for name, value in units.items() if value > 0 and name in set(unit_names)}
