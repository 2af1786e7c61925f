"""Training as a Prefect task."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from tasks.benchmark import SECONDS_BETWEEN_UPDATES
from tasks.shown import relayed_logs

if TYPE_CHECKING:
    from facepipe.lab.training.trainer import Row
    from facepipe.lab.vrn.regressor_plan import TrainingPlan
    from facepipe.models.weights import WeightsFile


@task
def train_regressor(
    plan: TrainingPlan,
    out: Path,
    initial: WeightsFile | None,
    device: str,
    threads: int,
    workers: int,
    report_every: int,
    checkpoint_minutes: float,
) -> Path:
    """Train a regressor; progress, the loss curve's rows and the model card are shown while it runs."""
    import torch

    from facepipe.lab.training.hardware import hardware
    from facepipe.lab.vrn.session import train_weights
    from facepipe.lab.vrn.train import Setting

    torch.set_num_threads(threads)
    setting = Setting(
        out / f"{plan.name}.checkpoint", device, report_every, checkpoint_minutes, workers=workers
    )
    with relayed_logs() as log:
        shown = _Progress(plan.name)
        described = {"command": f"flow train-regressor, {plan}", "device": hardware(device, threads)}
        file = train_weights(plan, setting, out, initial, described, shown, lambda row: _report(log, row))
    if file is None:
        raise RuntimeError("a flow trains in one process, which always writes")
    card = file.path.with_suffix(".md").read_text(encoding="utf-8")
    create_markdown_artifact(card, key="facepipe-model-card")
    return file.path


class _Progress:
    """A progress artifact that follows the share of a training that is done."""

    def __init__(self, name: str) -> None:
        self.updated = time.monotonic()
        self.artifact = create_progress_artifact(
            progress=0.0, key="facepipe-training", description=f"training of {name}"
        )

    def __call__(self, done: float) -> None:
        """Show a share from 0 to 1, but not too often."""
        if done >= 1 or time.monotonic() - self.updated >= SECONDS_BETWEEN_UPDATES:
            self.updated = time.monotonic()
            update_progress_artifact(self.artifact, progress=100.0 * done)


def _report(log: Any, row: Row) -> None:
    log.info(
        "step %d: loss %.4f, validation IoU %.3f, depth %.2f px",
        row["step"],
        row["loss"],
        row["validation_iou"],
        row["validation_depth_px"],
    )
