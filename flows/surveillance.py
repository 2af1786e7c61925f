"""Surveillance batches as a Prefect flow."""

from __future__ import annotations

from prefect import flow

from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.driver import check, run
from flows.parameters import takes_fields_of
from tasks.failures import explain_crash, explained_failures
from tasks.shown import relayed_logs
from tasks.surveillance import STEPS, RunProgress, report


@flow(name="surveillance", on_crashed=[explain_crash])
@takes_fields_of(SurveilConfig)
def surveillance(config: SurveilConfig) -> str:
    """Find, restore and reconstruct the faces in the images and videos of an inbox, each input once.

    Parameters are the options of `facepipe surveil`; the same parameters go on with the same archive.
    Returns the archive's folder.
    """
    with explained_failures("surveillance", config):
        check(config)
        archive = Archive(config.out)
        with archive.lock(config.wait), relayed_logs():
            summary = run(config, archive, RunProgress(), STEPS)
        report(config, summary)
    return str(config.out.resolve())
