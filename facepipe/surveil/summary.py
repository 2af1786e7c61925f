"""Count what a run did, and how fast each stage was."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from facepipe.core.errors import printable
from facepipe.core.schema import STAGES
from facepipe.imaging.passed_over import summarised
from facepipe.pipeline.executor import StageResult
from facepipe.surveil.inbox import Listing

UNITS_OF = {"look": "files", "detect": "frames", "restore": "faces", "regress": "faces", "export": "faces"}
"""What the items of each stage are."""


@dataclass
class Speed:
    """How fast a stage was."""

    units: int = 0
    items: int = 0
    work_seconds: float = 0.0
    wall_seconds: float = 0.0

    @property
    def items_per_second(self) -> float | None:
        """By the wall clock; None where there was nothing to do."""
        return self.items / self.wall_seconds if self.items and self.wall_seconds else None


@dataclass
class Summary:
    """What a run came to.

    Attributes:
        started: UTC.
        listing: what was found in the inbox.
        known: files that were known, and not read.
        duplicates: files whose content was known.
        inputs: new contents.
        unread: files that could not be read, or changed meanwhile.
        rows: rows written, by reason; those of faces under ''.
        expired_days: days whose pixels were deleted.
        stages: by name.
    """

    started: datetime
    listing: Listing = field(default_factory=Listing)
    known: int = 0
    duplicates: int = 0
    inputs: int = 0
    unread: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    expired_days: int = 0
    stages: dict[str, Speed] = field(default_factory=dict)

    def record(self, stage: str, result: StageResult, wall_seconds: float) -> None:
        """Count what a stage did, and how long it took."""
        speed = self.stages.setdefault(stage, Speed())
        speed.wall_seconds += wall_seconds
        speed.units += result.units
        speed.items += result.samples
        speed.work_seconds += result.seconds

    def count(self, rows: pa.Table) -> None:
        """Count the rows of a wave by their reason."""
        for reason in rows["reason"].to_pylist():
            self.rows[reason or ""] = self.rows.get(reason or "", 0) + 1

    def table(self) -> pa.Table:
        """The speeds, as `STAGES` has them."""
        rows: list[dict[str, Any]] = [
            {
                "started": self.started,
                "stage": stage,
                "items_per_second": speed.items_per_second,
                **vars(speed),
            }
            for stage, speed in self.stages.items()
        ]
        return pa.Table.from_pylist(rows, schema=STAGES)

    def lines(self) -> list[str]:
        """For a person."""
        listing = self.listing
        text = [
            f"{listing.files} files: {self.inputs} new inputs, {self.duplicates} duplicates, "
            f"{self.known} known before"
        ]
        if listing.unsettled:
            text.append(
                f"{listing.unsettled} files changed a moment ago and may not be whole yet: left to the next "
                "run (--settle-seconds)"
            )
        if self.unread:
            text.append(f"{self.unread} files could not be read, or changed meanwhile: left to the next run")
        if listing.other:
            text.append(f"{listing.other} files passed over:")
            text += [f"  {printable(str(passed))}" for passed in summarised(listing.passed_over)]
        text += [f"not readable: {name}" for name in listing.unreadable]
        faces = self.rows.get("", 0)
        others = ", ".join(f"{count} {name}" for name, count in sorted(self.rows.items()) if name)
        text.append(f"{faces} faces restored{'; ' + others if others else ''}")
        if self.expired_days:
            text.append(f"pixels of {self.expired_days} days deleted, their rows kept")
        for stage, speed in self.stages.items():
            rate = speed.items_per_second
            if rate is not None:
                text.append(
                    f"  {stage:<8} {speed.items:>8} {UNITS_OF[stage]:<6} {rate:>9.1f} a second"
                    f"  ({speed.wall_seconds:.1f} s)"
                )
        return text
