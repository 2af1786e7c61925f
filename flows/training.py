"""Training as a Prefect flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from prefect import flow

from facepipe.inference import open_device
from facepipe.vrn.plan import TrainingPlan
from facepipe.vrn.regressors import open_regressor
from tasks.training import train_regressor


@flow(name="train-regressor")
def training(
    out: Path,
    name: str = "vrn-compact",
    arch: str = "compact",
    steps: int = 0,
    minutes: float = 0.0,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    views: int = 4,
    low_resolution: bool = False,
    init: str | None = None,
    device: str = "cpu",
    workers: int = 1,
) -> str:
    """Train a volumetric regressor; the same parameters go on with the same training.

    Parameters are the options of `facepipe train vrn`. Returns the path of the weights.
    """
    plan = TrainingPlan(
        name, arch, steps, minutes, batch, learning_rate, seed, views=views, low_resolution=low_resolution
    )
    if init:
        plan = replace(plan, initial_sha256=open_regressor(init).file.sha256)
    open_device(device)
    return str(train_regressor(plan, out, init, device, workers).resolve())
