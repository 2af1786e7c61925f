"""`facepipe train superres`: train super-resolvers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facepipe.degrade import DEGRADATIONS
from facepipe.progress import share_progress
from facepipe.superres.architectures import ARCHITECTURES, get_architecture
from facepipe.superres.plan import SCALES, TrainingPlan

if TYPE_CHECKING:
    from facepipe.superres.train import Row

PRECISIONS = ("auto", "bf16", "fp32")


@click.command()
@click.option(
    "--arch",
    type=click.Choice([architecture.name for architecture in ARCHITECTURES]),
    default="espcn",
    show_default=True,
    help="Network.",
)
@click.option(
    "--scale", type=click.Choice([str(scale) for scale in SCALES]), required=True, help="Enlargement factor."
)
@click.option(
    "--degradation", type=click.Choice(list(DEGRADATIONS)), default="area", show_default=True, help="To undo."
)
@click.option("--steps", type=int, default=0, help="Optimiser steps.")
@click.option("--minutes", type=float, default=0.0, help="Training time, instead of --steps.")
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
@click.option("--photographs", type=click.Path(path_type=Path), help="Folder of more photographs.")
@click.option("--faces", type=click.Path(path_type=Path), help="Folder of faces; every tenth is held out.")
@click.option(
    "--evaluate", type=click.Path(path_type=Path), multiple=True, help="Folder of photos to measure on only."
)
@click.option("--as", "name", help="Name of the weights.  [default: ARCH-DEGRADATION-xSCALE]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for weights and state.")
@click.option("--threads", type=int, default=1, show_default=True, help="Threads of torch.")
@click.option("--device", default="cpu", show_default=True, help="Device of torch.")
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
) -> None:
    """Train a super-resolver on free photographs and a folder of faces.

    The same command goes on where it was interrupted. Weights, their model card and the loss curve
    (NAME.history.parquet) land in --out; 'facepipe models import' makes them a method.
    """
    import torch

    from facepipe.inference import open_device
    from facepipe.superres.material import load_material, read_folder
    from facepipe.superres.methods import open_network
    from facepipe.superres.session import train_weights
    from facepipe.superres.train import Setting

    initial = open_network(init).file if init else None
    architecture = get_architecture(arch)
    plan = TrainingPlan(
        name or f"{arch}-{degradation}-x{scale}",
        arch,
        int(scale),
        degradation,
        steps,
        minutes,
        batch,
        patch_px,
        learning_rate or architecture.learning_rate,
        seed,
        bf16=architecture.bf16 if precision == "auto" else precision == "bf16",
        initial_sha256=initial.sha256 if initial else "",
    )
    open_device(device)
    photos = [image for folder in evaluate for image in read_folder(folder)]
    sets = {f"photos not trained on ({', '.join(folder.name for folder in evaluate)})": photos}
    torch.set_num_threads(threads)
    described = {
        "command": _command(
            plan, initial.info.name if initial else None, photographs is not None, faces is not None
        ),
        "device": f"{device}, {threads} thread{'s' if threads > 1 else ''}",
    }
    setting = Setting(out / f"{plan.name}.checkpoint", device)
    with share_progress(plan.steps, plan.minutes) as tell:
        file = train_weights(
            plan, load_material(faces, photographs), setting, sets, initial, described, tell, _report
        )
    for data, figures in file.info.figures.items():
        click.echo(
            f"{data}: PSNR {figures['psnr_db']} dB, gain over bicubic {figures['gain_db']} dB, "
            f"SSIM {figures['gain_ssim']}"
        )
    click.echo(f"{file.path}\n{file.path.with_suffix('.md')}\n{setting.history}")


def _report(row: Row) -> None:
    validation = ""
    if row["validation_psnr_db"] is not None:
        validation = f", validation {row['validation_psnr_db']:.2f} dB ({row['validation_gain_db']:+.2f})"
    click.echo(f"step {row['step']}, {row['seconds']:.0f} s: loss {row['loss']:.5f}{validation}", err=True)


def _command(plan: TrainingPlan, init: str | None, photographs: bool, faces: bool) -> str:
    length = f"--steps {plan.steps}" if plan.steps else f"--minutes {plan.minutes:g}"
    return (
        f"facepipe train superres --as {plan.name} --arch {plan.arch} --scale {plan.scale} "
        f"--degradation {plan.degradation} {length} --batch {plan.batch} --patch-px {plan.patch_px} "
        f"--learning-rate {plan.learning_rate:g} --seed {plan.seed} "
        f"--precision {'bf16' if plan.bf16 else 'fp32'}{f' --init {init}' if init else ''}"
        f"{' --photographs PHOTOGRAPHS' if photographs else ''}{' --faces FACES' if faces else ''}"
    )
