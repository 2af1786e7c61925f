"""`facepipe train superres`: train super-resolvers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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
from facepipe.core.errors import UsageError
from facepipe.core.path_option import PATH
from facepipe.core.progress import share_progress
from facepipe.imaging.degrade import DEGRADATIONS
from facepipe.lab.superres.superres_plan import SCALES, TrainingPlan
from facepipe.models.superres.architectures import ARCHITECTURES, get_architecture

if TYPE_CHECKING:
    from facepipe.lab.superres.training_data import Image8, TrainingData
    from facepipe.lab.training.trainer import Row

PRECISIONS = ("auto", "bf16", "fp32")


@click.command(short_help="Train a super-resolver on photographs and faces.")
@arch_option([architecture.name for architecture in ARCHITECTURES], "espcn")
@click.option(
    "--scale", type=click.Choice([str(scale) for scale in SCALES]), required=True, help="Enlargement factor."
)
@click.option(
    "--degradation", type=click.Choice(list(DEGRADATIONS)), default="area", show_default=True, help="To undo."
)
@length_options
@click.option("--batch", type=int, default=16, show_default=True, help="Patches a step.")
@click.option("--patch-px", type=int, default=24, show_default=True, help="Largest side of a patch.")
@click.option("--learning-rate", type=float, help="Of Adam, at the start.  [default: the network's own]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and draws.")
@click.option("--init", metavar="NAME|FILE", help="Weights to start from, of any scale or degradation.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="auto",
    show_default=True,
    help="While it learns; auto is what is faster for the network.",
)
@click.option("--photographs", type=PATH, help="Folder of more photographs.")
@click.option("--faces", type=PATH, help="Folder of faces; every tenth is held out.")
@click.option("--evaluate", type=PATH, multiple=True, help="Folder of photos to measure on only.")
@click.option("--as", "name", help="Name of the weights.  [default: ARCH-DEGRADATION-xSCALE]")
@place_options
@keeping_options
def superres(
    arch: str,
    scale: str,
    degradation: str,
    steps: int,
    minutes: float,
    batch: int,
    patch_px: int,
    learning_rate: float | None,
    seed: int,
    init: str | None,
    precision: str,
    photographs: Path | None,
    faces: Path | None,
    evaluate: tuple[Path, ...],
    name: str | None,
    out: Path,
    threads: int,
    device: str,
    report_every: int,
    checkpoint_minutes: float,
) -> None:
    """Train a super-resolver on free photographs and a folder of faces.

    The same command goes on where it was interrupted, and leaves a finished training as it is. Weights, their
    model card and the loss curve (NAME.history.parquet) land in --out; 'facepipe models import' makes them a
    method.
    """
    from facepipe.lab.superres.session import train_weights
    from facepipe.lab.superres.training_data import load_training_data, read_folder
    from facepipe.lab.training.hardware import choose_device, hardware, use_threads
    from facepipe.lab.training.preflight import check_init
    from facepipe.lab.training.trainer import Setting
    from facepipe.models.inference import open_device
    from facepipe.models.superres.methods import open_network

    initial = open_network(check_init(init)).file if init else None
    architecture = get_architecture(arch)
    plan = TrainingPlan(
        name or f"{arch}-{degradation}-x{scale}",
        arch,
        steps,
        minutes,
        batch,
        architecture.learning_rate if learning_rate is None else learning_rate,
        seed,
        scale=int(scale),
        degradation=degradation,
        patch_px=patch_px,
        bf16=architecture.bf16 if precision == "auto" else precision == "bf16",
        initial_sha256=initial.identity if initial else "",
    )
    device = choose_device(device)
    open_device(device)
    make_folder(out)
    training_data = load_training_data(faces, photographs)
    plan = replace(plan, material_sha256=training_data.sha256)
    photos = _unseen(training_data, [image for folder in evaluate for image in read_folder(folder)])
    sets = {f"photos not trained on ({', '.join(folder.name for folder in evaluate)})": photos}
    use_threads(threads)
    described = {
        "command": _command(
            plan, initial.info.name if initial else None, photographs is not None, faces is not None
        ),
        "device": hardware(device, threads),
    }
    setting = Setting(out / f"{plan.name}.checkpoint", device, report_every, checkpoint_minutes)
    with share_progress(plan.steps, plan.minutes) as tell:
        file = train_weights(plan, training_data, setting, sets, initial, described, tell, _report)
    for data, figures in file.info.figures.items():
        if {"psnr_db", "gain_db", "gain_ssim"} <= figures.keys():
            click.echo(
                f"{data}: PSNR {figures['psnr_db']} dB, gain over bicubic {figures['gain_db']} dB, "
                f"SSIM {figures['gain_ssim']}"
            )
    say_files(file.path, setting.history)


def _unseen(training_data: TrainingData, photos: list[Image8]) -> list[Image8]:
    unseen = training_data.unseen(photos)
    if photos and not unseen:
        raise UsageError("--evaluate: all images there are trained on")
    if len(unseen) < len(photos):
        click.echo(
            f"left out: {len(photos) - len(unseen)} images of --evaluate are trained on or come twice",
            err=True,
        )
    return unseen


def _report(row: Row) -> None:
    validation = ""
    if row["validation_psnr_db"] is not None:
        validation = f", validation {row['validation_psnr_db']:.2f} dB ({row['validation_gain_db']:+.2f})"
    click.echo(f"step {row['step']}, {row['seconds']:.0f} s: loss {row['loss']:.5f}{validation}", err=True)


def _command(plan: TrainingPlan, init: str | None, photographs: bool, faces: bool) -> str:
    own = f"--scale {plan.scale} --degradation {plan.degradation} --patch-px {plan.patch_px}"
    folders = f"{' --photographs PHOTOGRAPHS' if photographs else ''}{' --faces FACES' if faces else ''}"
    return command_of("superres", plan, own, init) + folders
