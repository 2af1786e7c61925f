"""A surveillance run: from the files of an inbox to rows of an archive, batch by batch.

The state of a run is the archive's folder: which contents are in the table, which units of a batch have
written their part. A run that was killed goes on there, and ends as if nothing had happened.
"""

from __future__ import annotations

from contextlib import ExitStack
from urllib.parse import unquote

from facepipe.core.errors import UsageError
from facepipe.pipeline.cluster import check_cluster
from facepipe.surveil.archive import Archive
from facepipe.surveil.config import SurveilConfig
from facepipe.surveil.conversion import convert
from facepipe.surveil.night import Night, Show, now
from facepipe.surveil.retention import expire
from facepipe.surveil.rules import Rules, resolve_rules
from facepipe.surveil.steps import Steps, take_through
from facepipe.surveil.summary import Summary
from facepipe.surveil.upkeep import finish, sweep

STEPS = Steps()


def check(config: SurveilConfig) -> Rules:
    """Refuse what cannot work before anything is made.

    Raises:
        UsageError: no inbox; the archive in the inbox, or around it, or where no Delta table can be; an
            unknown name or cluster.
        WeightsError: weights are damaged.
    """
    inbox, out = config.inbox.resolve(), config.out.resolve()
    if not inbox.is_dir():
        raise UsageError(f"inbox {config.inbox}: no such folder")
    if out == inbox or inbox in out.parents or out in inbox.parents:
        raise UsageError(f"--out {config.out}: an archive cannot lie in its inbox, nor around it")
    if unquote(str(out)) != str(out):
        raise UsageError(
            f"--out {config.out}: Delta Lake takes {out} for {unquote(str(out))}: rename the folder"
        )
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {config.out}: is a file, a folder is needed")
    check_cluster(config.cluster, config.cluster_config)
    return resolve_rules(config)


def run(config: SurveilConfig, archive: Archive, show: Show, steps: Steps = STEPS) -> Summary:
    """Bring an archive up to date with its inbox; call while holding its lock.

    Args:
        config: of the run.
        archive: of which.
        show: opens displays of progress.
        steps: what is done with each batch.

    Raises:
        UsageError: as `check`, or the folder is no archive.
        EnvironmentTroubleError: disk, memory or cluster failed; what is done stays done.
    """
    rules = check(config)
    archive.create()
    convert(archive)
    sweep(archive)
    began = now()
    summary = Summary(began)
    if config.retain_days is not None:
        summary.expired_days = expire(archive, config.retain_days, began)
    with ExitStack() as stack:
        night = Night(config, archive, rules, summary, show, stack)
        for batch in night.batches():
            take_through(night, batch, steps)
    finish(archive, summary.table())
    return summary
