"""Draw batches of training patches for super-resolvers.

Squares of photographs and faces are degraded exactly as the benchmark degrades crops, a block of them at a
time, and every square serves for several patches in any orientation: degrading costs as much as learning from
a patch. Every batch is given by (seed, step) alone, so that a training that was interrupted goes on as if it
had not been.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.lab.superres.superres_plan import TrainingPlan
from facepipe.lab.superres.training_data import Image8, TrainingData, make_pair

STEPS_PER_BLOCK = 32
PATCHES_PER_SQUARE = 4


class Batches:
    """The batches of a training.

    Args:
        plan: of the training.
        training_data: what to cut from.
    """

    def __init__(self, plan: TrainingPlan, training_data: TrainingData) -> None:
        self._plan = plan
        self._training_data = training_data
        self._number = -1
        self._low = self._reference = np.empty(0, np.uint8)

    def draw(self, step: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw the patches of a step.

        Returns:
            uint8 RGB: low-resolution patches (B, p, p, 3) and their references (B, r p, r p, 3).
        """
        plan = self._plan
        self._open_block(step // STEPS_PER_BLOCK)
        generator = np.random.default_rng((plan.seed, 1, step))
        side = min(plan.patch_px, plan.low_px)
        low, high = [], []
        for index in generator.integers(len(self._low), size=plan.batch):
            y, x = (int(value) for value in generator.integers(plan.low_px - side + 1, size=2))
            turns, mirrored = int(generator.integers(4)), generator.random() < 0.5
            patch = self._low[index, y : y + side, x : x + side]
            y, x, high_side = y * plan.scale, x * plan.scale, side * plan.scale
            reference = self._reference[index, y : y + high_side, x : x + high_side]
            low.append(_oriented(patch, turns, mirrored))
            high.append(_oriented(reference, turns, mirrored))
        return np.stack(low), np.stack(high)

    def _open_block(self, number: int) -> None:
        if number == self._number:
            return
        plan = self._plan
        generator = np.random.default_rng((plan.seed, 0, number))
        count = max(1, STEPS_PER_BLOCK * plan.batch // PATCHES_PER_SQUARE)
        self._low = np.empty((count, plan.low_px, plan.low_px, 3), np.uint8)
        self._reference = np.empty((count, NETWORK_PX, NETWORK_PX, 3), np.uint8)
        for index in range(count):
            square = self._training_data.square(generator)
            pair = make_pair(square, plan.degradation, plan.low_px, plan.seed, f"{number}/{index}")
            self._low[index], self._reference[index] = pair
        self._number = number


def _oriented(image: Image8, turns: int, mirrored: bool) -> Image8:
    turned = np.rot90(image, turns)
    return turned[:, ::-1] if mirrored else turned
