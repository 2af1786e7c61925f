"""Surveillance batches as a Prefect flow."""

from __future__ import annotations

from prefect import flow

from facepipe.core.config_model import validated
from facepipe.core.paths import UserPath
from facepipe.models.vrn.backends import BackendChoice
from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.driver import check, run
from tasks.failures import explain_crash, explained_failures
from tasks.shown import relayed_logs
from tasks.surveillance import STEPS, RunProgress, report


@flow(name="surveillance", on_crashed=[explain_crash])
def surveillance(
    inbox: UserPath,
    out: UserPath,
    method: str = "compact-camera",
    regressor: str = "vrn-compact",
    backend: BackendChoice = "torch",
    detector: str = "centerface",
    every: int | None = None,
    per_second: float | None = None,
    min_interocular_px: float = 8.0,
    retain_days: int | None = None,
    no_pixels: bool = False,
    reprocess: bool = False,
    retry_failed: bool = False,
    cluster: str = "local",
    cluster_config: UserPath | None = None,
    workers: int | None = None,
    unit_timeout_s: float | None = None,
    worker_memory_gb: float | None = None,
    max_pixels: int = 64_000_000,
    max_frames: int = 20_000,
    max_seconds: float = 86_400.0,
    settle_seconds: float = 60.0,
    wait: bool = False,
    wave_frames: int = 512,
) -> str:
    """Find, restore and reconstruct the faces in the images and videos of an inbox, each input once.

    Parameters are the options of `facepipe surveil`; the same parameters go on with the same archive.
    Returns the archive's folder.
    """
    config = validated(SurveilConfig, dict(locals()), "parameters")
    with explained_failures("surveillance", config):
        check(config)
        archive = Archive(config.out)
        with archive.lock(config.wait), relayed_logs():
            summary = run(config, archive, RunProgress(), STEPS)
        report(config, summary)
    return str(config.out.resolve())
