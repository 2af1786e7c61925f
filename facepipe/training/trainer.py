"""Optimiser steps at a rate that rises and falls, and a state that goes on where it stopped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from facepipe.checkpoint import load_checkpoint, save_checkpoint
from facepipe.errors import UsageError
from facepipe.tables import write_table
from facepipe.training.plan import Plan
from facepipe.weights import WeightsFile, WeightsInfo, save_weights

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
        """The loss curve, a Parquet file beside the checkpoint."""
        return self.checkpoint.with_suffix(".history.parquet")


@dataclass(frozen=True)
class Schedule:
    """How the learning rate goes: up from 0, then down along a half cosine.

    Attributes:
        warm_up_steps: in which it rises: the first steps of Adam and AdamW are as long as all others.
        final_share: of the highest rate, at the end.
    """

    warm_up_steps: int
    final_share: float

    def rate(self, highest: float, step: int, done: float) -> float:
        """The learning rate of a step, before which the share `done` of the training was over."""
        falling = 0.5 * (1 + math.cos(math.pi * done))
        rising = min(1.0, (step + 1) / self.warm_up_steps)
        return highest * rising * (self.final_share + (1 - self.final_share) * falling)


class Training:
    """A network that learns, with its past: what a checkpoint holds.

    Args:
        plan: what determines it.
        setting: how it is run.
        network: on the setting's device.
        optimiser: of its parameters.

    Attributes:
        schedule: of the learning rate.
        schema: of the loss curve.
        step: optimiser steps so far.
        seconds: how long they took.
        history: rows of the loss curve.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged.
    """

    schedule: ClassVar[Schedule]
    schema: ClassVar[pa.Schema]

    def __init__(
        self, plan: Plan, setting: Setting, network: torch.nn.Module, optimiser: torch.optim.Optimizer
    ) -> None:
        self.plan = plan
        self.setting = setting
        self.device = torch.device(setting.device)
        self.network = network
        self.optimiser = optimiser
        self.step = 0
        self.seconds = 0.0
        self.history: list[Row] = []
        if setting.checkpoint.exists():
            self._resume()

    @property
    def done(self) -> float:
        """How much of the plan is done, 0 to 1."""
        return self.plan.share_done(self.step, self.seconds)

    @property
    def due(self) -> bool:
        """Whether it is time to validate and to write a checkpoint."""
        return self.step % self.setting.report_every == 0 or self.done >= 1

    def rate(self) -> float:
        """The learning rate of the coming step."""
        return self.schedule.rate(self.plan.learning_rate, self.step, self.done)

    def descend(self, loss: torch.Tensor) -> float:
        """Take the optimiser step for the loss of a batch, and return the loss.

        Raises:
            UsageError: the loss is no number any more.
        """
        value = float(loss.detach())
        if not math.isfinite(value):
            raise UsageError(f"the training diverged at step {self.step}: use a smaller --learning-rate")
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimiser.step()
        self.step += 1
        return value

    def record(self, losses: Sequence[float], figures: Row) -> Row:
        """Write a checkpoint and the loss curve with a new row, and return the row.

        Args:
            losses: of the steps since the last row.
            figures: the columns that only this kind of network has.
        """
        row = {
            "step": self.step,
            "seconds": self.seconds,
            "learning_rate": self.rate(),
            "loss": float(np.mean(losses)),
            **figures,
        }
        self.history.append(row)
        self._save()
        return row

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(self.setting.checkpoint, asdict(self.plan), state)
        write_table(self.setting.history, pa.Table.from_pylist(self.history, self.schema))

    def _resume(self) -> None:
        state = load_checkpoint(self.setting.checkpoint, asdict(self.plan), self.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]

    def write_weights(self, folder: Path, info: WeightsInfo) -> WeightsFile:
        """Write the network as weights with their description."""
        tensors = {key: value.cpu().numpy() for key, value in self.network.state_dict().items()}
        return save_weights(folder / f"{info.name}.safetensors", tensors, info)
