"""Train hourglass networks on faces from seeds.

Every step's examples are given by (seed, step) alone, so that a training which was interrupted goes on as
if it had not been.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from numpy.typing import NDArray

from facepipe.core.schema import TRAINING
from facepipe.lab.training import trainer
from facepipe.lab.training.trainer import Row, Schedule, Training
from facepipe.lab.vrn.calibrate import calibrate
from facepipe.lab.vrn.examples import Block, blocks
from facepipe.lab.vrn.initial_weights import Initial
from facepipe.lab.vrn.losses import SILHOUETTE, volume_loss
from facepipe.lab.vrn.photo_augment import shares
from facepipe.lab.vrn.ranks import Ranks
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.validation import ValidationFaces, ValidationScore, make_validation_faces, validate
from facepipe.models.inference import load_module
from facepipe.models.vrn.hourglass import StackedNetwork
from facepipe.models.vrn.image_norm import use_image_statistics
from facepipe.models.vrn.networks import build_network
from facepipe.models.vrn.preprocessing import OWN
from facepipe.models.vrn.published import VrnNetwork
from facepipe.models.vrn.run_hourglass import to_cells, to_input
from facepipe.models.weights import WeightsFile, WeightsInfo

WEIGHT_DECAY = 1e-4

SOURCE = "trained by facepipe on rendered faces of the MakeHuman / MPFB2 head (CC0)"
PHOTO_SOURCE = " and on photographs"


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
        initial: weights to start from, None for random ones.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged.
    """

    schedule = Schedule(warm_up_steps=100, final_share=0.02)
    schema = TRAINING
    plan: TrainingPlan
    setting: Setting

    def __init__(self, plan: TrainingPlan, setting: Setting, initial: Initial | None = None) -> None:
        torch.manual_seed(plan.seed)
        self.arguments = dict(initial.arguments if initial else plan.architecture.arguments)
        self.usage = initial.usage if initial else OWN
        network = build_network(plan.architecture.architecture, self.arguments)
        if initial is not None:
            load_module(network, initial.tensors, initial.name)
        # What no step changes, but every reader of the weights expects.
        self._fixed = {}
        if self.usage.batch_norm == "per-image":
            before = network.state_dict()
            use_image_statistics(network)
            self._fixed = {key: before[key].numpy() for key in before.keys() - network.state_dict().keys()}
        network.requires_grad_(True).train()
        network = network.to(setting.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimiser = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
        super().__init__(plan, setting, network, optimiser)
        self._faces: ValidationFaces | None = None
        self._joined = setting.ranks.joined(self.network, self.device)
        self._examples: Iterator[tuple[torch.Tensor, torch.Tensor]] | None = None

    @property
    def determined_by(self) -> dict[str, Any]:
        """The plan, the network, the grid that it is supervised on, its loss, and what befalls pictures."""
        architecture = self.plan.architecture
        return {
            **super().determined_by,
            "network": self.arguments,
            "target_px": architecture.target_px,
            "silhouette": SILHOUETTE,
            "pictures": shares(),
        }

    @property
    def faces(self) -> int:
        """Faces seen so far, by all ranks."""
        return self.step * self.plan.batch * self.plan.ranks // self.plan.views

    @property
    def writes(self) -> bool:
        """Whether this is the first rank."""
        return self.setting.ranks.first

    def _agreed(self, seconds: float, asked: int) -> tuple[float, int]:
        return self.setting.ranks.agreed(seconds, asked, self.device)

    def _next_step(self) -> float:
        if self._examples is None:
            self._examples = self._batches()
        return self._one_step(*next(self._examples))

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The examples of the coming steps."""
        plan, ranks = self.plan, self.setting.ranks
        number, within = divmod(self.step, plan.steps_per_block)
        first = number * ranks.count + ranks.rank
        for block in blocks(plan.recipe, first, self.setting.workers, ranks.count):
            yield from _cut(block, plan.batch, within)
            within = 0

    def _one_step(self, images: torch.Tensor, targets: torch.Tensor) -> float:
        inputs = to_input(images.to(self.device), self.plan.architecture.geometry.size, self.usage)
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.plan.bf16):
            predictions = self._joined(inputs)
        cells = [to_cells(logits, inputs.shape[-1], self.usage) for logits in predictions]
        return self.descend(volume_loss(cells, targets.to(self.device)))

    def _figures(self) -> Row:
        score = self._score()
        return {
            "faces": self.faces,
            "validation_iou": score.iou,
            "validation_depth_px": score.depth_px,
        }

    def _validation_faces(self) -> ValidationFaces:
        if self._faces is None:
            faces = make_validation_faces(self.setting.validation_faces)
            photos = self.plan.recipe.photos
            if photos is not None:
                faces = faces.beside(photos.validation(self.setting.validation_faces))
            self._faces = faces.lowered() if self.plan.low_resolution else faces
        return self._faces

    def _score(self) -> ValidationScore:
        geometry = self.plan.architecture.geometry
        return validate(self.network, self._validation_faces(), geometry, self.device, self.usage)

    def calibrate(self) -> tuple[float, ValidationScore]:
        """Move the surface of a network that is trained to where it agrees best with validation faces.

        For a regressor of low resolutions these are of low resolution, too.

        Returns:
            What was added to its last logits, and its score since.
        """
        network = cast(StackedNetwork | VrnNetwork, self.network)
        geometry = self.plan.architecture.geometry
        shift = calibrate(network, self._validation_faces(), geometry, self.device, self.usage)
        return shift, self._score()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """The network as weights hold it."""
        return {**self._fixed, **super().tensors()}

    def save_weights(self, folder: Path, training: dict[str, Any], figures: dict[str, Any]) -> WeightsFile:
        """Write the network as weights with their description."""
        architecture = self.plan.architecture
        info = WeightsInfo(
            name=self.plan.name,
            kind="regressor",
            architecture=architecture.architecture,
            arguments=self.arguments,
            colour=self.usage.colour,
            geometry=asdict(architecture.geometry),
            usage=self.usage.described(),
            licence="MIT",
            source=SOURCE + (PHOTO_SOURCE if self.plan.photos else ""),
            training=training,
            figures=figures,
        )
        return self.write_weights(folder, info)


def _cut(block: Block, batch: int, first: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(first * batch, len(block.images), batch):
        chosen = slice(start, start + batch)
        yield torch.from_numpy(block.images[chosen]), torch.from_numpy(block.targets[chosen])
