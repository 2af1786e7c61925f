"""The command line. Commands load on first use, so that `facepipe --help` starts fast."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys

import click

from facepipe import __version__
from facepipe.core.errors import FacepipeError, printable
from facepipe.core.names import did_you_mean

COMMANDS = {
    "bench": ("facepipe.cli.bench:bench", "Run the benchmark: degrade, restore, regress, score."),
    "score": ("facepipe.cli.score:score", "Score meshes or volumes that another program made."),
    "reconstruct": ("facepipe.cli.results:reconstruct", "Turn photos into coloured meshes."),
    "surveil": ("facepipe.cli.surveil:surveil", "Turn an inbox of images and videos into faces, each once."),
    "query": ("facepipe.cli.results:query", "Ask the tables of a run or an archive a question in SQL."),
    "report": ("facepipe.cli.results:report", "Write a run's report page."),
    "status": ("facepipe.cli.bench:status", "Say how far a run is, or what an archive holds."),
    "clean": ("facepipe.cli.bench:clean", "Delete a run's arrays and keep its tables."),
    "data": ("facepipe.cli.data:data", "Inspect data sets, synthesize faces, annotate photographs."),
    "models": ("facepipe.cli.models:models", "List, show, import, remove and judge weights."),
    "train": ("facepipe.cli.train_group:train", "Train networks."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="facepipe")
@click.option("--debug", is_flag=True, help="Show tracebacks and debug messages.")
def facepipe(debug: bool) -> None:
    """How much of a 3D face survives low resolution, and which super-resolution brings it back."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    if not debug:
        for noisy in ("asyncio", "numba"):
            logging.getLogger(noisy).setLevel(logging.CRITICAL)


RESUMABLE = {"bench": "here", "surveil": "here", "data": "here", "train": "the last checkpoint"}
"""Commands that go on where they were interrupted, and from where."""


def _interrupt(*_: object) -> None:
    """End the work once; a second signal must not disturb the ending."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run the command line; the exit status is 0 done, 1 failed, 2 wrong usage."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    place = RESUMABLE.get(arguments[0]) if arguments else None
    goes_on = f"; the same command goes on from {place}" if place else ""
    try:
        status = facepipe.main(["--debug", *arguments] if debug else arguments, standalone_mode=False)
    except click.UsageError as error:
        error.show()
        status = 2
    except click.ClickException as error:
        error.show()
        status = 1
    except click.Abort as error:
        known = str(error.__cause__ or "")  # a training says at which step
        print(f"interrupted{f'; {known}' if known else goes_on}", file=sys.stderr)
        status = 1
    except FacepipeError as error:
        if debug:
            raise
        print(f"error: {printable(str(error))}", file=sys.stderr)
        status = error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except OSError as error:
        if debug:
            raise
        print(f"error: {printable(str(error))}{goes_on}", file=sys.stderr)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)
