"""Training super-resolvers.

The squared error is made small, which is what PSNR measures. The network that is kept computes in float32;
while it learns, it may compute in bfloat16, which takes two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from facepipe.core.schema import SUPERRES_TRAINING
from facepipe.lab.superres.batches import Batches
from facepipe.lab.superres.superres_plan import TrainingPlan
from facepipe.lab.superres.training_data import TrainingData
from facepipe.lab.superres.validation import validate, validation_set
from facepipe.lab.training.trainer import Row, Schedule, Setting, Training
from facepipe.models.inference import load_module
from facepipe.models.superres.build import get_builder
from facepipe.models.weights import WeightsFile, WeightsInfo


class Trainer(Training):
    """A training that can be interrupted.

    Args:
        plan: what to train.
        training_data: what to train on.
        setting: how.
        initial: tensors to start from, None for those of the architecture.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged, or the initial tensors do not fit the architecture.
    """

    schedule = Schedule(warm_up_steps=50, final_share=0.01)
    schema = SUPERRES_TRAINING
    plan: TrainingPlan

    def __init__(
        self,
        plan: TrainingPlan,
        training_data: TrainingData,
        setting: Setting,
        initial: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        torch.manual_seed(plan.seed)
        self.training_data = training_data
        self.builder = get_builder(plan.arch)
        network = self.builder.network(scale=plan.scale, **plan.architecture.arguments)
        if initial is None:
            self.builder.initialise(network)
        else:
            load_module(network, initial, "--init")
        network.requires_grad_(True).train()
        # With channels last a step takes a sixth less time on a CPU.
        network = network.to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.Adam(network.parameters(), lr=plan.learning_rate)
        super().__init__(plan, setting, network, optimiser)
        self._batches = Batches(plan, training_data)
        self._validation = validation_set(plan, training_data)

    @property
    def determined_by(self) -> dict[str, Any]:
        """The plan and the network."""
        return {**super().determined_by, "network": dict(self.plan.architecture.arguments)}

    def _next_step(self) -> float:
        low, high = (
            self.builder.to_tensor(images).to(self.device) for images in self._batches.draw(self.step)
        )
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            restored = self.network(low.contiguous(memory_format=torch.channels_last))
        return self.descend(torch.nn.functional.mse_loss(restored.float(), high))

    def _figures(self) -> Row:
        psnr_db = gain_db = None
        if self._validation is not None:
            psnr_db, gain_db = validate(self.network, self.builder.to_tensor, self._validation, self.device)
        return {
            "patches": self.step * self.plan.batch,
            "validation_psnr_db": psnr_db,
            "validation_gain_db": gain_db,
        }

    def save_weights(self, folder: Path, training: dict[str, Any], figures: dict[str, Any]) -> WeightsFile:
        """Write the network as weights with their description."""
        plan = self.plan
        info = WeightsInfo(
            name=plan.name,
            kind="superres",
            architecture=plan.arch,
            arguments={"scale": plan.scale, **plan.architecture.arguments},
            trained=self.step > 0,
            scale=plan.scale,
            degradation=plan.degradation,
            colour=plan.architecture.colour,
            licence="MIT",
            source="trained by facepipe",
            training=training,
            figures=figures,
        )
        return self.write_weights(folder, info)
