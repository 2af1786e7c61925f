"""Training hourglass networks on faces from seeds.

Every step's examples are given by (seed, step) alone, so that a training which was interrupted goes on as
if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
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
from facepipe.schema import TRAINING
from facepipe.vrn.examples import Block, blocks
from facepipe.vrn.losses import volume_loss
from facepipe.vrn.networks import build_network
from facepipe.vrn.plan import WARM_UP_STEPS, TrainingPlan
from facepipe.vrn.ranks import Ranks
from facepipe.vrn.validation import ValidationFaces, make_validation_faces, validate
from facepipe.vrn.volumes import to_input
from facepipe.weights import WeightsFile, WeightsInfo, save_weights

FINAL_RATE_SHARE = 0.02
WEIGHT_DECAY = 1e-4
LARGEST_GRADIENT = 1.0

Row = dict[str, float | None]


@dataclass(frozen=True)
class Setting:
    """How a training is run: nothing here changes what is trained on.

    Attributes:
        checkpoint: where its state is kept; an existing one of the same plan is resumed.
        device: a torch device.
        workers: processes that make faces, 0 to make them between the steps.
        validation_faces: faces that it is judged on.
        report_every: steps between validations and checkpoints.
        ranks: this process among `plan.ranks` that train together.
    """

    checkpoint: Path
    device: str = "cpu"
    workers: int = 1
    validation_faces: int = 64
    report_every: int = 500
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def history(self) -> Path:
        """The loss curve, a Parquet file beside the checkpoint with the columns of `schema.TRAINING`."""
        return self.checkpoint.with_suffix(".history.parquet")


class Trainer:
    """A training that can be interrupted.

    Args:
        plan: what to train.
        setting: how.
        initial: tensors to start from, None for random ones.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged, or the initial tensors do not fit the architecture.
    """

    def __init__(
        self, plan: TrainingPlan, setting: Setting, initial: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        self.plan = plan
        self.setting = setting
        self.device = torch.device(setting.device)
        self.step = 0
        self.seconds = 0.0
        self.history: list[Row] = []
        torch.manual_seed(plan.seed)
        network = build_network(plan.architecture.architecture, plan.architecture.arguments)
        if initial is not None:
            load_module(network, initial, plan.name)
        network.requires_grad_(True).train()
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(self.network.parameters(), weight_decay=WEIGHT_DECAY)
        self._faces: ValidationFaces | None = None
        self._losses: list[float] = []
        if setting.checkpoint.exists():
            self._resume()
        self._joined = setting.ranks.joined(self.network, self.device)

    @property
    def done(self) -> float:
        """How much of the plan is done, 0 to 1."""
        return self.plan.share_done(self.step, self.seconds)

    @property
    def faces(self) -> int:
        """Faces seen so far, by all ranks."""
        return self.step * self.plan.batch * self.plan.ranks // self.plan.views

    def run(self, tell: Callable[[float], None], report: Callable[[Row], None]) -> None:
        """Train to the end of the plan.

        Args:
            tell: called after each step with `done`.
            report: called by the first rank with each row of the history, after its checkpoint is written.

        Raises:
            UsageError: the loss is no number any more.
            EnvironmentTroubleError: a process that makes faces was killed.
        """
        tell(self.done)
        examples = self._batches()
        began, before = time.monotonic(), self.seconds
        while self.done < 1:
            images, targets = next(examples)
            self._losses.append(self._one_step(images, targets))
            self.seconds = self.setting.ranks.agreed(before + time.monotonic() - began, self.device)
            tell(self.done)
            due = self.step % self.setting.report_every == 0 or self.done >= 1
            if due and self.setting.ranks.first:
                row = self._row()
                self.history.append(row)
                self._save()
                report(row)
            if due:
                self._losses.clear()

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The examples of the coming steps."""
        plan, ranks = self.plan, self.setting.ranks
        number, within = divmod(self.step, plan.steps_per_block)
        first = number * ranks.count + ranks.rank
        for block in blocks(plan.recipe, first, self.setting.workers, ranks.count):
            yield from _cut(block, plan.batch, within)
            within = 0

    def _one_step(self, images: torch.Tensor, targets: torch.Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        inputs = to_input(images.to(self.device), self.plan.architecture.geometry.size)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            predictions = self._joined(inputs)
        loss = volume_loss(predictions, targets.to(self.device))
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
        if self._faces is None:
            self._faces = make_validation_faces(self.setting.validation_faces)
        score = validate(self.network, self._faces, self.plan.architecture.geometry, self.device)
        return {
            "step": self.step,
            "faces": self.faces,
            "seconds": self.seconds,
            "learning_rate": self.rate(),
            "loss": float(np.mean(self._losses)),
            "validation_iou": score.iou,
            "validation_depth_px": score.depth_px,
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
        pq.write_table(pa.Table.from_pylist(self.history, TRAINING), temporary)
        temporary.replace(self.setting.history)

    def _resume(self) -> None:
        state = load_checkpoint(self.setting.checkpoint, asdict(self.plan), self.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds, self.history = state["step"], state["seconds"], state["history"]

    def save_weights(self, folder: Path, training: dict[str, Any], figures: dict[str, Any]) -> WeightsFile:
        """Write the network as weights with their description."""
        architecture = self.plan.architecture
        info = WeightsInfo(
            name=self.plan.name,
            kind="regressor",
            architecture=architecture.architecture,
            arguments=dict(architecture.arguments),
            colour="RGB scaled to -1..1",
            geometry=asdict(architecture.geometry),
            licence="MIT",
            source="trained by facepipe on rendered faces of the MakeHuman / MPFB2 head (CC0)",
            training=training,
            figures=figures,
        )
        tensors = {key: value.cpu().numpy() for key, value in self.network.state_dict().items()}
        return save_weights(folder / f"{self.plan.name}.safetensors", tensors, info)


def _cut(block: Block, batch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(first * batch, len(block.images), batch):
        chosen = slice(start, start + batch)
        yield torch.from_numpy(block.images[chosen]), torch.from_numpy(block.targets[chosen])
