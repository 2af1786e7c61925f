"""What a batch consists of: items, waves, and the units that work on them.

A batch is a block of files whose rows appear together. Its new inputs are cut into items, an image or a
segment of a video each; items are grouped into shards and shards into waves. A wave passes detect, restore,
regress and export before the next one begins, so that crops and volumes never pile up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from facepipe.core.schema import FILES
from facepipe.pipeline.batch_store import array_name
from facepipe.pipeline.unit import Unit
from facepipe.surveil.look_stage import ENDING, PICK

STAGES = ("detect", "restore", "regress", "export")
"""The stages of a wave, after `look` has seen the whole batch."""

FILES_PER_LOOK = 16
IMAGES_PER_SHARD = 16
FRAMES_PER_SEGMENT = 32
FACES_PER_UNIT = 16
"""Faces of one unit of restore, regress and export: a shard of the arrays of their wave."""

LISTED = pa.schema([field for field in FILES if field.name != "sha256"])
"""The files of a batch, before anybody has read them."""

WAVE_FACES = pa.schema(
    [
        ("index", pa.int64()),
        ("face_id", pa.string()),
        ("shard", pa.int64()),
        ("row", pa.int64()),
        ("crop", pa.int64()),
        ("crop_px", pa.int32()),
    ]
)
"""The faces of a wave that are to be restored: `index` is the place in the wave's arrays, `shard` and `row`
the unit of detect that found it and its row there, `crop` and `crop_px` its place and side in that unit's
crops."""

ITEMS = pa.schema(
    [
        ("index", pa.int64()),
        ("wave", pa.int64()),
        ("shard", pa.int64()),
        ("path", pa.binary()),
        ("size_bytes", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("inode", pa.int64()),
        ("sha256", pa.string()),
        ("kind", pa.string()),
        ("time", pa.timestamp("us")),
        ("time_source", pa.string()),
        ("segment", pa.int64()),
        ("picks", pa.list_(PICK)),
        ("ending", ENDING),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""An image, or a segment of a video with the frames that are looked at; `ending` is with the last segment."""


@dataclass(frozen=True)
class Wave:
    """Which frames and faces of a batch pass the stages together.

    Attributes:
        number: of the wave; -1 for the whole batch, which `look` goes through.
    """

    number: int

    @property
    def key(self) -> tuple[str, ...]:
        """Its folder below a stage."""
        return ("all" if self.number < 0 else f"{self.number:06d}",)

    @property
    def crops(self) -> str:
        """Name of the group of arrays with faces as they were cut out: one array a unit of detect."""
        return array_name("crops", *self.key)

    def crops_of(self, shard: int) -> str:
        """Name of the array of the faces that a unit of detect cut out."""
        return array_name("crops", *self.key, f"{shard:06d}")

    @property
    def restored(self) -> str:
        """Name of the array of restored images."""
        return array_name("restored", *self.key)

    @property
    def volumes(self) -> str:
        """Name of the array of volumes."""
        return array_name("volumes", *self.key)

    def __str__(self) -> str:
        return "all" if self.number < 0 else f"wave {self.number}"


WHOLE = Wave(-1)
"""The whole batch."""

SurveilUnit = Unit[Wave]


def make_items(looked: Iterable[dict[str, Any]], wave_frames: int) -> Iterator[dict[str, Any]]:
    """Cut inputs into items, shards and waves: rows of `ITEMS`.

    Args:
        looked: rows of `LOOKED`, new inputs only, in the order of the listing.
        wave_frames: frames of a wave; the last item of a wave may exceed it.
    """
    wave = shard = in_shard = in_wave = 0
    for index, item in enumerate(item for row in looked for item in _cut(row)):
        frames = expected_frames(item)
        alone = item["kind"] == "video"
        if in_wave and in_wave + frames > wave_frames:
            wave, shard, in_wave, in_shard = wave + 1, shard + 1, 0, 0
        elif in_shard and (alone or in_shard >= IMAGES_PER_SHARD):
            shard, in_shard = shard + 1, 0
        in_wave += frames
        in_shard += IMAGES_PER_SHARD if alone else 1
        yield item | {"index": index, "wave": wave, "shard": shard}


def expected_frames(item: dict[str, Any]) -> int:
    """How many frames of an item there are to be looked at; 1 at least."""
    return max(1, len(item["picks"] or ()))


def _cut(row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    picks = row["picks"] or []
    item = {name: row[name] for name in ITEMS.names if name in row}
    begins = range(0, max(1, len(picks)), FRAMES_PER_SEGMENT)
    for segment, begin in enumerate(begins):
        ending = row["ending"] if segment == len(begins) - 1 else None
        yield item | {
            "segment": segment,
            "picks": picks[begin : begin + FRAMES_PER_SEGMENT],
            "ending": ending,
        }
