"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far work is.

    Args:
        label: what is counted.
        total: how much there is to do; where it is nothing, nothing is shown.

    Yields:
        A function that takes the number of steps just done.
    """
    if not total:
        yield lambda _: None
    elif sys.stderr.isatty():
        yield from _bar(label, total)
    else:
        yield from _lines(label, total)


@contextmanager
def share_progress(steps: int, minutes: float) -> Iterator[Callable[[float], None]]:
    """Show how far a training is that takes so many steps, or so many minutes.

    Args:
        steps: how many steps, or 0 where `minutes` decides.
        minutes: how many minutes; where both are nothing, nothing is shown.

    Yields:
        A function that takes the share of the whole that is done, 0 to 1.
    """
    total = steps or round(60 * minutes)
    shown = 0
    with progress("steps" if steps else "seconds", total) as advance:

        def tell(done: float) -> None:
            nonlocal shown
            advance(int(done * total) - shown)
            shown = int(done * total)

        yield tell


def _bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total)
        yield lambda steps: bars.advance(task, steps)


def _lines(label: str, total: int) -> Iterator[Callable[[int], None]]:
    started = printed = time.monotonic()
    done = 0

    def advance(steps: int) -> None:
        nonlocal done, printed
        done += steps
        now = time.monotonic()
        if now - printed >= SECONDS_BETWEEN_LINES and done < total:
            printed = now
            print(f"{label}: {done} of {total}", file=sys.stderr, flush=True)

    yield advance
    print(f"{label}: {done} of {total}, {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
