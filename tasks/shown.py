"""Make Prefect tasks from functions of the pipeline: retries, and logs that Prefect shows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun

from facepipe.core.errors import DamageError, EnvironmentTroubleError

P = ParamSpec("P")
R = TypeVar("R")


class _Relay(logging.Handler):
    """Hands records of the engine and of the workers to the run's log."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self.target = target

    def emit(self, record: logging.LogRecord) -> None:
        self.target.log(record.levelno, record.getMessage())


@contextmanager
def relayed_logs() -> Iterator[Any]:
    """Relay what facepipe logs, here and on the workers, to the run's log: a task's, or else the flow's."""
    target = get_run_logger()
    relay = _Relay(target)
    source = logging.getLogger("facepipe")
    outer = [handler for handler in source.handlers if isinstance(handler, _Relay)]
    for handler in outer:
        source.removeHandler(handler)
    source.addHandler(relay)
    level = source.level
    if source.getEffectiveLevel() > logging.INFO:  # Python's default would drop what a stage did
        source.setLevel(logging.INFO)
    try:
        yield target
    finally:
        source.removeHandler(relay)
        source.setLevel(level)
        for handler in outer:
            source.addHandler(handler)


def may_pass(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001
    """Whether a task that failed may pass a while later: disk, memory or cluster were to blame.

    How often it is tried again, and after how long, are Prefect's settings `tasks.default_retries` and
    `tasks.default_retry_delay_seconds`; deploy/prefect.yaml sets them.
    """
    return isinstance(state.data, EnvironmentTroubleError) and not isinstance(state.data, DamageError)


def stage_task(run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    """Make a task of a plain function, under its name.

    Args:
        run_name: of the task's runs, with the function's parameters in braces.
    """

    def made_of(function: Callable[P, R]) -> Task[P, R]:
        @wraps(function)
        def relayed(*args: P.args, **kwargs: P.kwargs) -> R:
            with relayed_logs():
                return function(*args, **kwargs)

        return Task(
            relayed,
            name=function.__name__,
            task_run_name=run_name,
            retry_condition_fn=may_pass,
            cache_policy=NO_CACHE,
        )

    return made_of
