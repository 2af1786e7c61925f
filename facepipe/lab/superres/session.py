"""Train a super-resolver from a plan to weights with a model card."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from facepipe.core.errors import UsageError
from facepipe.lab.superres.evaluate import compare, make_pairs
from facepipe.lab.superres.superres_plan import TrainingPlan
from facepipe.lab.superres.train import Trainer
from facepipe.lab.superres.training_data import FACE_SHARE, Image8, TrainingData
from facepipe.lab.training.ancestry import ancestry
from facepipe.lab.training.preflight import check_room
from facepipe.lab.training.trainer import Row, Setting
from facepipe.metrics.intervals import text
from facepipe.models.inference import load_module
from facepipe.models.superres.build import build_resolver, get_builder
from facepipe.models.weights import Tensors, WeightsFile, load_tensors, write_card

NOT_FIT_FOR = (
    "telling who somebody is: what it adds is what is likely, not what was there; undoing a degradation "
    "other than its own"
)


UNTRAINED_ARGUMENTS = ("scale", "quantise")
"""Arguments in which the weights that a training starts from may differ: scales are converted, and how a
network's output becomes bytes has no part in training."""


def initial_tensors(file: WeightsFile, plan: TrainingPlan) -> Tensors:
    """Tensors of other weights of the same architecture to start from.

    Those of another scale keep all but the last convolution, whose channels are the pixels of a block: each
    new pixel starts as the nearest one of the old block.

    Raises:
        UsageError: they are of another architecture or of another size.
        WeightsError: they are damaged, or do not fit their own architecture.
    """
    arguments, expected = (
        {key: value for key, value in given.items() if key not in UNTRAINED_ARGUMENTS}
        for given in (file.info.arguments, plan.architecture.arguments)
    )
    if file.info.architecture != plan.arch or arguments != expected:
        raise UsageError(
            f"--init {file.path}: architecture {file.info.architecture} with {arguments}; needed is "
            f"{plan.arch} with {expected}"
        )
    tensors = load_tensors(file.path)
    load_module(get_builder(plan.arch).network(**file.info.arguments), tensors, f"--init {file.path}")
    old_scale = file.info.arguments["scale"]
    if old_scale == plan.scale:
        return tensors
    places = [(2 * pixel + 1) * old_scale // (2 * plan.scale) for pixel in range(plan.scale)]
    resized = dict(tensors)
    # Weights files keep their tensors by name, so the order is that of the network.
    for key in list(get_builder(plan.arch).network(**file.info.arguments).state_dict())[-2:]:
        tensor = tensors[key]
        block = tensor.reshape(-1, old_scale, old_scale, *tensor.shape[1:])
        resized[key] = block[:, places][:, :, places].reshape(-1, *tensor.shape[1:])
    return resized


def train_weights(
    plan: TrainingPlan,
    training_data: TrainingData,
    setting: Setting,
    photos: Mapping[str, Sequence[Image8]],
    initial: WeightsFile | None,
    described: dict[str, Any],
    tell: Callable[[float], None],
    report: Callable[[Row], None],
) -> WeightsFile:
    """Train to the end of a plan; write weights and card beside the checkpoint, unless an earlier call did.

    Args:
        plan: what to train.
        training_data: what to train on.
        setting: how.
        photos: images to measure on, by what to call them in the card.
        initial: weights to start from, None for those of the architecture.
        described: what the card shall say beyond the plan, such as command and hardware.
        tell: called after each step with the share of the plan that is done.
        report: called with each row of the history.

    Raises:
        UsageError: there are weights of that name and no checkpoint, or it belongs to another plan; the
            initial weights do not fit, or the loss is no number any more.
        WeightsError: the checkpoint is damaged.
    """
    folder = setting.checkpoint.parent
    check_room(folder / f"{plan.name}.safetensors", setting.checkpoint)
    trainer = Trainer(plan, training_data, setting, initial_tensors(initial, plan) if initial else None)
    finished = trainer.finished_before(folder)
    trainer.run(tell, report)
    if finished is not None:
        return finished
    training = {
        **described,
        "loss": "squared error",
        "photographs": training_data.provenance or len(training_data.photographs),
        "rendered_faces": len(training_data.faces),
        "material_sha256": plan.material_sha256,
        "share_of_faces": FACE_SHARE if training_data.faces else 0.0,
        "steps": trainer.step,
        "patches_seen": trainer.step * plan.batch,
        "seconds": round(trainer.seconds),
        "not_fit_for": NOT_FIT_FOR,
        **ancestry(initial),
    }
    # The card is written last: where there is one, the figures are measured.
    (folder / f"{plan.name}.md").unlink(missing_ok=True)
    file = trainer.save_weights(folder, training, {})
    sets = {name: images for name, images in photos.items() if images}
    if training_data.held_out:
        sets = {"faces held out": training_data.held_out, **sets}
    resolver = build_resolver(file, "cpu")
    figures = {
        name: text(compare(resolver, make_pairs(images, plan.degradation, plan.scale)))
        for name, images in sets.items()
    }
    file = trainer.save_weights(folder, training, figures)
    write_card(file)
    return file
