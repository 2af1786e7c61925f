"""Options and messages that the training commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from facepipe.core.errors import UsageError
from facepipe.core.path_option import PATH
from facepipe.lab.training.plan import Plan

Decorator = Callable[[Callable], Callable]


def _all_of(*options: Decorator) -> Decorator:
    def decorate(command: Callable) -> Callable:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


length_options = _all_of(
    click.option("--steps", type=int, default=0, help="Optimiser steps."),
    click.option("--minutes", type=float, default=0.0, help="Training time, instead of --steps."),
)
"""How long is trained."""

place_options = _all_of(
    click.option("--out", type=PATH, required=True, help="Folder for weights and state."),
    click.option(
        "--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads of torch."
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="Device of torch; auto is the GPU where there is one.",
    ),
)
"""Where is trained."""

keeping_options = _all_of(
    click.option(
        "--report-every",
        type=click.IntRange(min=1),
        default=500,
        show_default=True,
        metavar="STEPS",
        help="Steps between validations, each of which writes a checkpoint.",
    ),
    click.option(
        "--checkpoint-minutes",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="MINUTES",
        help="Write a checkpoint after so much time, too.",
    ),
)
"""How often is reported and written; changes no weights."""


def arch_option(names: Sequence[str], default: str) -> Decorator:
    """The network to train."""
    return click.option(
        "--arch", type=click.Choice(names), default=default, show_default=True, help="Network."
    )


def command_of(kind: str, plan: Plan, own: str, init: str | None) -> str:
    """The command that trains by a plan, for model cards.

    Args:
        kind: of network, as `facepipe train` calls it.
        plan: what it trains.
        own: the options that only this kind has.
        init: name of the weights that it starts from.
    """
    length = f"--steps {plan.steps}" if plan.steps else f"--minutes {plan.minutes:g}"
    return (
        f"facepipe train {kind} --as {plan.name} --arch {plan.arch} {own} {length} --batch {plan.batch} "
        f"--learning-rate {plan.learning_rate:g} --seed {plan.seed} "
        f"--precision {'bf16' if plan.bf16 else 'fp32'}{f' --init {init}' if init else ''}"
    )


def make_folder(out: Path) -> None:
    """Make the folder for weights and state now: the first file is written into it minutes later.

    Raises:
        UsageError: there can be no such folder.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: no folder can be there: {error.strerror}") from error


def say_files(weights: Path, history: Path) -> None:
    """Print the files of a training that is over: weights, card, loss curve."""
    click.echo(f"{weights}\n{weights.with_suffix('.md')}\n{history}")
