"""The training loop: optimiser steps, learning-rate schedule, resumable state."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.tables import write_table
from facepipe.lab.training.checkpoint import load_checkpoint, save_checkpoint
from facepipe.lab.training.plan import Plan
from facepipe.lab.training.signals import HeldSignals
from facepipe.models.weights import WeightsFile, WeightsInfo, load_tensors, open_weights, save_weights
from facepipe.models.weights.weights_file import tensors_sha256

logger = logging.getLogger("facepipe")

LARGEST_GRADIENT = 1.0

Row = dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    """How a training is run: nothing here changes what is trained on.

    Attributes:
        checkpoint: where its state is kept; an existing one of the same plan is resumed.
        device: a torch device.
        report_every: steps between validations, each of which writes a checkpoint.
        checkpoint_minutes: time after which one is written between them, too.
    """

    checkpoint: Path
    device: str = "cpu"
    report_every: int = 500
    checkpoint_minutes: float = 10.0

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


class Training(ABC):
    """A network that learns, with its past: what a checkpoint holds.

    A request to end (`signals.SIGNALS`) waits for the step at hand; then the state is written, and whoever
    resumes it gets what an undisturbed training gives.

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
        losses: of the steps since its last row.

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
        self.losses: list[float] = []
        self._saved = time.monotonic()
        if setting.checkpoint.exists():
            self._resume()

    @property
    def determined_by(self) -> dict[str, Any]:
        """What a checkpoint must have been written for to be resumed: the plan, and what code makes of it."""
        return asdict(self.plan)

    @property
    def done(self) -> float:
        """How much of the plan is done, 0 to 1."""
        return self.plan.share_done(self.step, self.seconds)

    @property
    def due(self) -> bool:
        """Whether it is time to validate and to write a checkpoint."""
        over = self.step % self.setting.report_every == 0 or self.done >= 1
        return over and bool(self.losses)

    @property
    def writes(self) -> bool:
        """Whether this process validates, reports and writes: of several that train together the first."""
        return True

    def run(self, tell: Callable[[float], None], report: Callable[[Row], None]) -> None:
        """Train to the end of the plan.

        Args:
            tell: called after each step with `done`.
            report: called with each row of the history, after its checkpoint is written.

        Raises:
            UsageError: the loss is no number any more.
            EnvironmentTroubleError: a process that makes examples was killed.
            KeyboardInterrupt: it was asked to end, and the state is written; says how to go on.
        """
        tell(self.done)
        began, before = time.monotonic(), self.seconds
        with HeldSignals() as held:
            while self.done < 1 or self.due:
                if self.due:
                    self._report(report)
                    continue
                self.losses.append(self._next_step())
                self.seconds, asked = self._agreed(before + time.monotonic() - began, held.number)
                tell(self.done)
                if asked:
                    self._end(held, asked)
                elif self.writes and time.monotonic() - self._saved >= 60 * self.setting.checkpoint_minutes:
                    self._save()

    @abstractmethod
    def _next_step(self) -> float:
        """Take a step on the examples whose turn it is, and return the loss."""

    @abstractmethod
    def _figures(self) -> Row:
        """Validate: the columns of the history that only this kind of network has."""

    def _agreed(self, seconds: float, asked: int) -> tuple[float, int]:
        """Time so far, and the signal that asks to end (0: none), as all that train together see them."""
        return seconds, asked

    def _report(self, report: Callable[[Row], None]) -> None:
        if self.writes:
            report(self.record(self._figures()))
        self.losses.clear()

    def _end(self, held: HeldSignals, number: int) -> None:
        if self.writes:
            self._save()
        # Agreeing is waiting for one another, and torchrun kills the others as soon as one has left.
        self._agreed(self.seconds, 0)
        try:
            held.deliver(number)
        except KeyboardInterrupt as error:
            raise KeyboardInterrupt(f"the same command goes on from step {self.step}") from error

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

    def record(self, figures: Row) -> Row:
        """Write a checkpoint and the loss curve with a new row, and return the row.

        Args:
            figures: the columns that only this kind of network has.
        """
        row = {
            "step": self.step,
            "seconds": self.seconds,
            "learning_rate": self.rate(),
            "loss": float(np.mean(self.losses)),
            **figures,
        }
        self.history.append(row)
        self.losses = []
        self._save()
        write_table(self.setting.history, pa.Table.from_pylist(self.history, self.schema))
        return row

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "losses": self.losses,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(self.setting.checkpoint, self.determined_by, state)
        self._saved = time.monotonic()

    def _resume(self) -> None:
        state = load_checkpoint(self.setting.checkpoint, self.determined_by, self.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]
        self.losses = state.get("losses", [])  # checkpoints were once written after a row only

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The network as weights hold it."""
        return {key: value.cpu().numpy() for key, value in self.network.state_dict().items()}

    def write_weights(self, folder: Path, info: WeightsInfo) -> WeightsFile:
        """Write the network as weights with their description."""
        return save_weights(folder / f"{info.name}.safetensors", self.tensors(), info)

    def finished_before(self, folder: Path) -> WeightsFile | None:
        """Weights and card that this training left when it ended earlier, None where there are none.

        They may hold figures that were measured since, so that they must not be written anew.
        """
        path = folder / f"{self.plan.name}.safetensors"
        if self.done < 1 or self.due or not (path.is_file() and path.with_suffix(".md").is_file()):
            return None
        try:
            written = load_tensors(path)
        except WeightsError:
            return None
        if tensors_sha256(written) != tensors_sha256(self.tensors()):
            return None
        logger.info("%s: this training is over, its weights and card are left as they are", path)
        return open_weights(path)
