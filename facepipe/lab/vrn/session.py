"""Train a regressor from a plan to weights with a model card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from facepipe.lab.training.ancestry import ancestry
from facepipe.lab.training.preflight import check_room
from facepipe.lab.training.trainer import Row
from facepipe.lab.vrn.initial_weights import start_from
from facepipe.lab.vrn.regressor_plan import TrainingPlan
from facepipe.lab.vrn.train import Setting, Trainer
from facepipe.models.weights import CURVE, WeightsFile, write_card

NOT_FIT_FOR = (
    "telling people apart, measuring a head in millimetres, anything behind the face part (brow to chin, in "
    "front of the ears)"
)
DRAWN_ONLY = (
    "; it saw rendered heads only, so hair, masks and hands over a real face mislead it, and on photographs "
    "of faces turned by more than 60 degrees nose and lips come out soft"
)
PHOTOS_TOO = (
    "; its truth for photographs is a head fitted to a face mesh that another network found: what that one "
    "gets wrong it learned; faces turned by more than 50 degrees it saw drawn or turned by computation only"
)

DATA = (
    "faces from seeds, made while it learned; mirrored, moved, put through what happens before real cameras, "
    "and photographed anew each time"
)


def train_weights(
    plan: TrainingPlan,
    setting: Setting,
    out: Path,
    initial: WeightsFile | None,
    described: dict[str, Any],
    tell: Callable[[float], None],
    report: Callable[[Row], None],
) -> WeightsFile | None:
    """Train to the end of a plan and write weights and card, unless an earlier call did.

    Args:
        plan: what to train.
        setting: how.
        out: folder of the weights.
        initial: weights to start from, None for random ones.
        described: what the card shall say beyond the plan, such as command and hardware.
        tell: called after each step with the share of the plan that is done.
        report: called with each row of the history.

    Returns:
        The weights; None on all but the first of several ranks.

    Raises:
        UsageError: there are weights of that name and no checkpoint, or it belongs to another plan; the
            initial weights are of another network, or the loss is no number any more.
        WeightsError: the checkpoint or the initial weights are damaged.
        EnvironmentTroubleError: a process that makes faces was killed.
    """
    check_room(out / f"{plan.name}.safetensors", setting.checkpoint)
    begun = start_from(initial, plan.architecture, plan.seed) if initial else None
    trainer = Trainer(plan, setting, begun)
    trainer.run(tell, report)
    if not trainer.writes:
        return None
    shift, score = trainer.calibrate()
    finished = trainer.finished_before(out)
    if finished is not None:
        return finished
    judged_on = f"validation faces{' at low resolutions' if plan.low_resolution else ''}"
    training = {
        **described,
        "data": _data(plan),
        "loss": "binary cross-entropy of soft occupancy and of the silhouette on the grid of the prediction",
        "faces": trainer.faces,
        "samples_seen": trainer.faces * plan.views,
        "steps": trainer.step,
        "calibration": f"logits shifted by {shift:+.3f}, for the highest IoU on {judged_on}",
        "seconds": round(trainer.seconds),
        "not_fit_for": NOT_FIT_FOR + (PHOTOS_TOO if plan.photos else DRAWN_ONLY),
        CURVE: [float(f"{row['loss']:.4g}") for row in trainer.history],
        **ancestry(initial),
    }
    figures = {
        "images": setting.validation_faces,
        "iou": round(score.iou, 4),
        "depth_rmse_px": round(score.depth_px, 3),
    }
    file = trainer.save_weights(out, training, {judged_on: figures})
    write_card(file)
    return file


def _data(plan: TrainingPlan) -> str:
    if not plan.photos:
        return DATA
    return (
        f"{plan.photo_share:.0%} photographs with heads fitted to them by 'facepipe data annotate' "
        f"(photos.parquet {plan.photos_sha256[:12]}), cut around the face, whole and between; else {DATA}"
    )
