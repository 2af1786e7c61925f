"""`facepipe train vrn`: train volumetric regressors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from facepipe.cli.train_options import (
    arch_option,
    command_of,
    keeping_options,
    length_options,
    make_folder,
    place_options,
    say_files,
)
from facepipe.core.path_option import PathOption
from facepipe.core.progress import share_progress
from facepipe.models.vrn.architectures import TRAINABLE
from facepipe.models.weights import sparkline

if TYPE_CHECKING:
    from facepipe.lab.training.trainer import Row
    from facepipe.lab.vrn.regressor_plan import Precision, TrainingPlan

PRECISIONS = ("bf16", "fp32")


@click.command()
@arch_option([architecture.name for architecture in TRAINABLE], "compact")
@length_options
@click.option("--batch", type=int, default=16, show_default=True, help="Examples a step.")
@click.option("--learning-rate", type=float, default=1e-3, show_default=True, help="Of AdamW, at most.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, faces and draws.")
@click.option("--init", metavar="NAME|FILE", help="Weights to start from.")
@click.option(
    "--views", type=click.IntRange(min=1), default=4, show_default=True, help="Examples made of each face."
)
@click.option(
    "--photos",
    type=PathOption(path_type=Path, exists=True, file_okay=False),
    help="Folder that 'facepipe data annotate' wrote: photographs to mix in.",
)
@click.option(
    "--photo-share",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="How many of the examples show photographs.",
)
@click.option("--low-resolution", is_flag=True, help="Train on pictures of low resolutions.")
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="bf16", show_default=True, help="While it learns."
)
@click.option("--as", "name", help="Name of the weights.  [default: vrn-ARCH or vrn-ARCH-lowres]")
@place_options
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes that make faces; 0 makes them between the steps.",
)
@keeping_options
def vrn(
    arch: str,
    steps: int,
    minutes: float,
    batch: int,
    learning_rate: float,
    seed: int,
    init: str | None,
    views: int,
    photos: Path | None,
    photo_share: float,
    low_resolution: bool,
    precision: Precision,
    name: str | None,
    out: Path,
    threads: int,
    device: str,
    workers: int,
    report_every: int,
    checkpoint_minutes: float,
) -> None:
    """Train a volumetric regressor on faces made while it learns.

    compact is the network that ships. hourglass-128 is that of the study of 2019 without what never reaches
    the volume: 9,746,774 of its 10,173,196 parameters. vrn-192 is the unguided VRN as its paper draws it.

    The same command goes on where it was interrupted, and leaves a finished training as it is. Weights, their
    model card and the loss curve (NAME.history.parquet) land in --out; 'facepipe models import' makes them a
    regressor.

    On several GPUs: torchrun --nproc-per-node N --no-python facepipe train vrn ..., where each process
    takes batches of its own.
    """
    from facepipe.lab.training.hardware import choose_device, hardware, use_threads
    from facepipe.lab.vrn.ranks import join_ranks
    from facepipe.lab.vrn.regressor_plan import plan_training
    from facepipe.lab.vrn.session import train_weights
    from facepipe.lab.vrn.train import Setting
    from facepipe.models.inference import open_device

    plan, initial = plan_training(
        name=name,
        arch=arch,
        init=init,
        precision=precision,
        low_resolution=low_resolution,
        steps=steps,
        minutes=minutes,
        batch=batch,
        learning_rate=learning_rate,
        seed=seed,
        views=views,
        photos=photos,
        photo_share=photo_share,
    )
    device = choose_device(device)
    open_device(device)
    make_folder(out)
    use_threads(threads)
    with join_ranks(device) as (ranks, own_device):
        plan = replace(plan, ranks=ranks.count)
        setting = Setting(
            out / f"{plan.name}.checkpoint",
            own_device,
            report_every,
            checkpoint_minutes,
            workers=workers,
            ranks=ranks,
        )
        described = {
            "command": _command(plan, initial.info.name if initial else None),
            "device": hardware(device, threads, ranks.count),
        }
        shown = (plan.steps, plan.minutes) if ranks.first else (0, 0.0)
        with share_progress(*shown) as tell:
            file = train_weights(plan, setting, out, initial, described, tell, _reporter())
        if file is not None:
            say_files(file.path, setting.history)


def _reporter() -> Callable[[Row], None]:
    """A function that prints a row of the history, with the losses since the start as a row of bars."""
    losses: list[float] = []

    def report(row: Row) -> None:
        losses.append(cast(float, row["loss"]))  # other columns have gaps, it has none
        click.echo(
            f"step {row['step']}, {row['seconds']:.0f} s: loss {row['loss']:.4f} {sparkline(losses)} "
            f"validation IoU {row['validation_iou']:.3f}, depth {row['validation_depth_px']:.2f} px",
            err=True,
        )

    return report


def _command(plan: TrainingPlan, init: str | None) -> str:
    launcher = f"torchrun --nproc-per-node {plan.ranks} --no-python " if plan.ranks > 1 else ""
    own = f"--views {plan.views}{' --low-resolution' if plan.low_resolution else ''}"
    if plan.photos:
        own += f" --photos {Path(plan.photos).name} --photo-share {plan.photo_share:g}"
    return launcher + command_of("vrn", plan, own, init)
