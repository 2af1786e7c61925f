"""`facepipe train`: train networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facepipe.cli.train_vrn import vrn
from facepipe.degrade import DEGRADATIONS
from facepipe.progress import progress


@click.group()
def train() -> None:
    """Train networks."""


train.add_command(vrn)


@train.command()
@click.option("--arch", type=click.Choice(["espcn"]), default="espcn", show_default=True, help="Network.")
@click.option("--scale", type=click.Choice(["2", "4", "8", "16"]), required=True, help="Enlargement factor.")
@click.option(
    "--degradation", type=click.Choice(list(DEGRADATIONS)), default="area", show_default=True, help="To undo."
)
@click.option(
    "--steps", type=click.IntRange(min=1), default=10_000, show_default=True, help="Optimiser steps."
)
@click.option("--batch", type=int, default=16, show_default=True, help="Patches a step.")
@click.option("--learning-rate", type=float, default=2e-3, show_default=True, help="Of Adam, at the start.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights and draws.")
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
    batch: int,
    learning_rate: float,
    seed: int,
    faces: Path | None,
    evaluate: tuple[Path, ...],
    name: str | None,
    out: Path,
    threads: int,
    device: str,
) -> None:
    """Train a super-resolver on free photographs and a folder of faces.

    The same command goes on where it was interrupted. Weights and their model card land in --out; 'facepipe
    models import' makes them a method.
    """
    import torch

    from facepipe.inference import open_device
    from facepipe.superres.material import load_material, read_folder
    from facepipe.superres.train import Trainer, TrainingPlan, measure
    from facepipe.weights import model_card

    plan = TrainingPlan(
        name or f"{arch}-{degradation}-x{scale}", int(scale), degradation, steps, batch, learning_rate, seed
    )
    open_device(device)
    photos = [image for folder in evaluate for image in read_folder(folder)]
    material = load_material(faces)
    torch.set_num_threads(threads)
    trainer = Trainer(plan, material, out / f"{plan.name}.checkpoint", device)
    with progress("steps", steps) as advance:
        trainer.run(advance)
    training: dict[str, Any] = {
        "command": _command(plan.name, scale, degradation, steps, batch, learning_rate, seed),
        "seconds": round(trainer.seconds),
        "device": f"{device}, {threads} thread{'s' if threads > 1 else ''}",
        "photographs": len(material.photographs),
        "rendered_faces": len(material.faces),
    }
    file = trainer.save_weights(out, training, {})
    figures: dict[str, dict[str, Any]] = {}
    if material.held_out:
        figures["held_out_faces"] = measure(file, material.held_out)
    if photos:
        sets = ", ".join(folder.name for folder in evaluate)
        figures["real_photos_not_trained_on"] = {"sets": sets, **measure(file, photos)}
    file = trainer.save_weights(out, training, figures)
    card = file.path.with_suffix(".md")
    card.write_text(model_card(file), encoding="utf-8")
    for data, figure in figures.items():
        gain = figure["psnr_db"] - figure["bicubic_psnr_db"]
        click.echo(
            f"{data.replace('_', ' ')} ({figure['images']}): PSNR {figure['psnr_db']:.2f} dB, "
            f"bicubic {figure['bicubic_psnr_db']:.2f} dB, gain {gain:+.2f} dB"
        )
    click.echo(f"{file.path}\n{card}")


def _command(name: str, scale: str, degradation: str, steps: int, batch: int, rate: float, seed: int) -> str:
    return (
        f"facepipe train superres --as {name} --scale {scale} --degradation {degradation} --steps {steps} "
        f"--batch {batch} --learning-rate {rate:g} --seed {seed} --faces FACES"
    )
