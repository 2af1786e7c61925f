"""Training hourglass networks on faces from seeds.

Every step's examples are given by (seed, step) alone, so that a training which was interrupted goes on as
if it had not been.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from facepipe.inference import load_module
from facepipe.schema import TRAINING
from facepipe.training import trainer
from facepipe.training.trainer import Row, Schedule, Training
from facepipe.vrn.examples import Block, blocks
from facepipe.vrn.losses import volume_loss
from facepipe.vrn.networks import build_network
from facepipe.vrn.plan import TrainingPlan
from facepipe.vrn.ranks import Ranks
from facepipe.vrn.validation import ValidationFaces, make_validation_faces, validate
from facepipe.vrn.volumes import to_input
from facepipe.weights import WeightsFile, WeightsInfo

WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class Setting(trainer.Setting):
    """How a training is run: nothing here changes what is trained on.

    Attributes:
        workers: processes that make faces, 0 to make them between the steps.
        validation_faces: faces that it is judged on.
        ranks: this process among `plan.ranks` that train together.
    """

    workers: int = 1
    validation_faces: int = 64
    ranks: Ranks = field(default_factory=Ranks)


class Trainer(Training):
    """A training that can be interrupted.

    Args:
        plan: what to train.
        setting: how.
        initial: tensors to start from, None for random ones.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged, or the initial tensors do not fit the architecture.
    """

    schedule = Schedule(warm_up_steps=100, final_share=0.02)
    schema = TRAINING
    plan: TrainingPlan
    setting: Setting

    def __init__(
        self, plan: TrainingPlan, setting: Setting, initial: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        torch.manual_seed(plan.seed)
        network = build_network(plan.architecture.architecture, plan.architecture.arguments)
        if initial is not None:
            load_module(network, initial, plan.name)
        network.requires_grad_(True).train()
        network = network.to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
        super().__init__(plan, setting, network, optimiser)
        self._faces: ValidationFaces | None = None
        self._joined = setting.ranks.joined(self.network, self.device)

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
        losses: list[float] = []
        began, before = time.monotonic(), self.seconds
        while self.done < 1:
            images, targets = next(examples)
            losses.append(self._one_step(images, targets))
            self.seconds = self.setting.ranks.agreed(before + time.monotonic() - began, self.device)
            tell(self.done)
            if self.due:
                if self.setting.ranks.first:
                    report(self.record(losses, self._figures()))
                losses.clear()

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The examples of the coming steps."""
        plan, ranks = self.plan, self.setting.ranks
        number, within = divmod(self.step, plan.steps_per_block)
        first = number * ranks.count + ranks.rank
        for block in blocks(plan.recipe, first, self.setting.workers, ranks.count):
            yield from _cut(block, plan.batch, within)
            within = 0

    def _one_step(self, images: torch.Tensor, targets: torch.Tensor) -> float:
        inputs = to_input(images.to(self.device), self.plan.architecture.geometry.size)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            predictions = self._joined(inputs)
        return self.descend(volume_loss(predictions, targets.to(self.device)))

    def _figures(self) -> Row:
        if self._faces is None:
            self._faces = make_validation_faces(self.setting.validation_faces)
        score = validate(self.network, self._faces, self.plan.architecture.geometry, self.device)
        return {
            "faces": self.faces,
            "validation_iou": score.iou,
            "validation_depth_px": score.depth_px,
        }

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
        return self.write_weights(folder, info)


def _cut(block: Block, batch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(first * batch, len(block.images), batch):
        chosen = slice(start, start + batch)
        yield torch.from_numpy(block.images[chosen]), torch.from_numpy(block.targets[chosen])
