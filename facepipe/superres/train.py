"""Training super-resolvers.

The squared error is made small, which is what PSNR measures. The network that is kept computes in float32;
while it learns, it may compute in bfloat16, which takes two thirds of the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from facepipe.checkpoint import load_checkpoint, save_checkpoint
from facepipe.errors import UsageError
from facepipe.inference import load_module
from facepipe.schema import SUPERRES_TRAINING
from facepipe.superres.batches import Batches
from facepipe.superres.build import get_builder
from facepipe.superres.material import Material
from facepipe.superres.plan import TrainingPlan
from facepipe.superres.validation import validate, validation_set
from facepipe.weights import WeightsFile, WeightsInfo, save_weights

WARM_UP_STEPS = 50
"""Steps in which the learning rate rises from 0: Adam's first steps are as long as all others."""

FINAL_RATE_SHARE = 0.01
LARGEST_GRADIENT = 1.0

Row = dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    """How a training is run: nothing here changes what is trained on.

    Attributes:
        checkpoint: where its state is kept; an existing one of the same plan is resumed.
        device: a torch device.
        report_every: steps between validations and checkpoints.
    """

    checkpoint: Path
    device: str = "cpu"
    report_every: int = 500

    @property
    def history(self) -> Path:
        """The loss curve, a Parquet file beside it with the columns of `schema.SUPERRES_TRAINING`."""
        return self.checkpoint.with_suffix(".history.parquet")


class Trainer:
    """A training that can be interrupted.

    Args:
        plan: what to train.
        material: what to train on.
        setting: how.
        initial: tensors to start from, None for those of the architecture.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged, or the initial tensors do not fit the architecture.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        material: Material,
        setting: Setting,
        initial: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        self.plan = plan
        self.material = material
        self.setting = setting
        self.device = torch.device(setting.device)
        self.step = 0
        self.seconds = 0.0
        self.history: list[Row] = []
        torch.manual_seed(plan.seed)
        self.builder = get_builder(plan.arch)
        network = self.builder.network(scale=plan.scale, **plan.architecture.arguments)
        if initial is None:
            self.builder.initialise(network)
        else:
            load_module(network, initial, plan.name)
        network.requires_grad_(True).train()
        # With channels last a step takes a sixth less time on a CPU.
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=plan.learning_rate)
        self._batches = Batches(plan, material)
        self._validation = validation_set(plan, material)
        self._losses: list[float] = []
        if setting.checkpoint.exists():
            self._resume()

    @property
    def done(self) -> float:
        """How much of the plan is done, 0 to 1."""
        return self.plan.share_done(self.step, self.seconds)

    def run(self, tell: Callable[[float], None], report: Callable[[Row], None]) -> None:
        """Train to the end of the plan.

        Args:
            tell: called after each step with `done`.
            report: called with each row of the history, after its checkpoint is written.

        Raises:
            UsageError: the loss is no number any more.
        """
        tell(self.done)
        began, before = time.monotonic(), self.seconds
        while self.done < 1:
            self._losses.append(self._one_step())
            self.seconds = before + time.monotonic() - began
            tell(self.done)
            if self.step % self.setting.report_every == 0 or self.done >= 1:
                self.history.append(self._row())
                self._save()
                report(self.history[-1])
                self._losses.clear()

    def _one_step(self) -> float:
        low, high = (
            self.builder.to_tensor(images).to(self.device) for images in self._batches.draw(self.step)
        )
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            restored = self.network(low.contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.mse_loss(restored.float(), high)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(f"the training diverged at step {self.step}: use a smaller --learning-rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.step += 1
        return value

    def rate(self) -> float:
        """The learning rate of the coming step."""
        falling = 0.5 * (1 + math.cos(math.pi * self.done))
        rising = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return self.plan.learning_rate * rising * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * falling)

    def _row(self) -> Row:
        psnr_db = gain_db = None
        if self._validation is not None:
            psnr_db, gain_db = validate(self.network, self.builder.to_tensor, self._validation, self.device)
        return {
            "step": self.step,
            "patches": self.step * self.plan.batch,
            "seconds": self.seconds,
            "learning_rate": self.rate(),
            "loss": float(np.mean(self._losses)),
            "validation_psnr_db": psnr_db,
            "validation_gain_db": gain_db,
        }

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(self.setting.checkpoint, asdict(self.plan), state)
        temporary = self.setting.history.with_suffix(".part")
        pq.write_table(pa.Table.from_pylist(self.history, SUPERRES_TRAINING), temporary)
        temporary.replace(self.setting.history)

    def _resume(self) -> None:
        state = load_checkpoint(self.setting.checkpoint, asdict(self.plan), self.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]

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
        tensors = {key: value.cpu().numpy() for key, value in self.network.state_dict().items()}
        return save_weights(folder / f"{plan.name}.safetensors", tensors, info)
