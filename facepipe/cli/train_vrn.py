"""`facepipe train vrn`: train volumetric regressors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facepipe.progress import progress
from facepipe.vrn.architectures import TRAINABLE

if TYPE_CHECKING:
    from facepipe.vrn.plan import TrainingPlan
    from facepipe.vrn.train import Row, Trainer

PRECISIONS = ("bf16", "fp32")

NOT_FIT_FOR = (
    "telling people apart, measuring a head in millimetres, anything behind the face part (brow to chin, in "
    "front of the ears); it saw rendered heads only, so hair, masks and hands over a real face mislead it"
)


@click.command()
@click.option(
    "--arch",
    type=click.Choice([architecture.name for architecture in TRAINABLE]),
    default="compact",
    show_default=True,
    help="Network.",
)
@click.option("--steps", type=int, default=0, help="Optimiser steps.")
@click.option("--minutes", type=float, default=0.0, help="Training time, instead of --steps.")
@click.option("--batch", type=int, default=16, show_default=True, help="Examples a step.")
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Of AdamW, at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, faces and draws.")
@click.option("--init", metavar="NAME|FILE", help="Weights to start from.")
@click.option("--views", type=int, default=4, show_default=True, help="Examples made of each face.")
@click.option("--low-resolution", is_flag=True, help="Train on pictures of low resolutions.")
@click.option("--precision", type=click.Choice(PRECISIONS), default="bf16", show_default=True)
@click.option("--as", "name", help="Name of the weights.  [default: vrn-ARCH or vrn-ARCH-lowres]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for weights and state.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--workers", type=int, default=1, show_default=True, help="Processes that make faces.")
@click.option("--device", default="auto", show_default=True, help="Device of torch.")
def vrn(
    arch: str,
    steps: int,
    minutes: float,
    batch: int,
    learning_rate: float,
    seed: int,
    init: str | None,
    views: int,
    low_resolution: bool,
    precision: str,
    name: str | None,
    out: Path,
    threads: int,
    workers: int,
    device: str,
) -> None:
    """Train a volumetric regressor on faces made while it learns.

    The same command goes on where it was interrupted. Weights, their model card and the loss curve
    (NAME.history.parquet) land in --out; 'facepipe models import' makes them a regressor.
    """
    import torch

    from facepipe.inference import open_device
    from facepipe.vrn.initial import initial_tensors
    from facepipe.vrn.plan import TrainingPlan
    from facepipe.vrn.regressors import open_regressor
    from facepipe.vrn.train import Setting, Trainer
    from facepipe.weights import model_card

    initial = open_regressor(init).file if init else None
    plan = TrainingPlan(
        name or f"vrn-{arch}{'-lowres' if low_resolution else ''}",
        arch,
        steps,
        minutes,
        batch,
        learning_rate,
        seed,
        views=views,
        low_resolution=low_resolution,
        bf16=precision == "bf16",
        initial_sha256=initial.sha256 if initial else "",
    )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    open_device(device)
    torch.set_num_threads(threads)
    setting = Setting(out / f"{plan.name}.checkpoint", device, workers)
    tensors = initial_tensors(initial, plan.architecture.geometry) if initial else None
    trainer = Trainer(plan, setting, tensors)
    _run(trainer)
    training = {
        "command": _command(plan, init),
        "data": "faces from seeds, made while it learned; mirrored, moved and photographed anew each time",
        "loss": "binary cross-entropy of soft occupancy on the grid of the prediction",
        "faces": trainer.step * batch // views,
        "samples_seen": trainer.step * batch,
        "steps": trainer.step,
        "seconds": round(trainer.seconds),
        "not_fit_for": NOT_FIT_FOR,
        "device": f"{device}, {threads} thread{'s' if threads > 1 else ''}",
    }
    if initial:
        training["started_from"] = f"{initial.info.name}, sha256 {initial.sha256}"
    file = trainer.save_weights(out, training, _last_figures(trainer))
    card = file.path.with_suffix(".md")
    card.write_text(model_card(file), encoding="utf-8")
    click.echo(f"{file.path}\n{card}\n{setting.history}")


def _run(trainer: Trainer) -> None:
    plan = trainer.plan
    total = plan.steps or round(60 * plan.minutes)
    shown = 0
    with progress("steps" if plan.steps else "seconds", total) as advance:

        def tell(done: float) -> None:
            nonlocal shown
            advance(int(done * total) - shown)
            shown = int(done * total)

        trainer.run(tell, _report)


def _report(row: Row) -> None:
    click.echo(
        f"step {row['step']}, {row['seconds']:.0f} s: loss {row['loss']:.4f}, validation IoU "
        f"{row['validation_iou']:.3f}, depth {row['validation_depth_px']:.2f} px",
        err=True,
    )


def _command(plan: TrainingPlan, init: str | None) -> str:
    length = f"--steps {plan.steps}" if plan.steps else f"--minutes {plan.minutes:g}"
    return (
        f"facepipe train vrn --as {plan.name} --arch {plan.arch} {length} --batch {plan.batch} "
        f"--learning-rate {plan.learning_rate:g} --seed {plan.seed} --views {plan.views} "
        f"{'--low-resolution ' if plan.low_resolution else ''}"
        f"--precision {'bf16' if plan.bf16 else 'fp32'}{f' --init {init}' if init else ''}"
    )


def _last_figures(trainer: Trainer) -> dict[str, Any]:
    last = trainer.history[-1]
    keys = ("validation_iou", "validation_depth_px")
    figures = {key.removeprefix("validation_"): last[key] for key in keys}
    return {"validation_faces": {"faces": trainer.setting.validation_faces, **figures}}
