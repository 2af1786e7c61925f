"""Training as a Prefect flow."""

from __future__ import annotations

import inspect
from typing import Literal

from prefect import flow

from facepipe.core.paths import UserPath
from facepipe.lab.training.hardware import choose_device
from facepipe.lab.vrn.regressor_plan import plan_training
from facepipe.models.inference import open_device
from tasks.failures import explain_crash, explained_failures
from tasks.training import train_regressor


@flow(name="train-regressor", on_crashed=[explain_crash])
def training(
    out: UserPath,
    name: str | None = None,
    arch: str = "compact",
    steps: int = 0,
    minutes: float = 0.0,
    batch: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    views: int = 4,
    low_resolution: bool = False,
    photos: UserPath | None = None,
    photo_share: float = 0.5,
    init: str | None = None,
    precision: Literal["bf16", "fp32"] = "bf16",
    device: str = "auto",
    threads: int = 1,
    workers: int = 1,
    report_every: int = 500,
    checkpoint_minutes: float = 10.0,
) -> str:
    """Train a volumetric regressor; the same parameters go on with the same training.

    Parameters are the options of `facepipe train vrn`, `name` what it calls `--as`. Returns the path of the
    weights.
    """
    defaults = inspect.signature(training.fn).parameters
    given = {key: value for key, value in locals().items() if key in defaults}
    changed = {key: value for key, value in given.items() if value != defaults[key].default}
    with explained_failures("training", changed):
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
        how = (device, threads, workers, report_every, checkpoint_minutes)
        return str(train_regressor(plan, out, initial, *how).resolve())
