"""Files that are not looked at, counted by extension and reason, so that none is left out silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from facepipe.imaging.file_kinds import HEIC, HEIC_WAY_OUT, can_read_heic, kind_of

NOT_READ = "neither images nor videos of a kind that is read"
HIDDEN = "hidden"
NOT_REGULAR = "links, or no regular files"
VIDEO = "videos: facepipe surveil looks at these"

_MOST_EXTENSIONS = 8


@dataclass(frozen=True)
class PassedOver:
    """Files that are not looked at for one reason.

    Attributes:
        count: how many.
        extensions: how many of which, as '2 .heic, 1 .txt'.
        why: for a person.
    """

    count: int
    extensions: str
    why: str

    def __str__(self) -> str:
        return f"{self.extensions}: {self.why}"


def why_not(head: bytes, with_videos: bool) -> str | None:
    """Why a file with this beginning is not looked at; None if it is.

    Args:
        head: its first `HEAD_BYTES` bytes.
        with_videos: whether videos are looked at.
    """
    kind = kind_of(head)
    if kind is None:
        return NOT_READ
    if kind is HEIC and not can_read_heic():
        return HEIC_WAY_OUT
    return VIDEO if kind.medium == "video" and not with_videos else None


def extension_of(name: str) -> str:
    """What files of a kind are counted under: '.heic', or '(no extension)'."""
    return PurePosixPath(name).suffix.lower() or "(no extension)"


def summarised(counts: Counter[tuple[str, str]]) -> Iterator[PassedOver]:
    """Sum up counts by (extension, reason)."""
    for why in sorted({why for _, why in counts}):
        of = Counter({extension: count for (extension, reason), count in counts.items() if reason == why})
        listed = [f"{count} {extension}" for extension, count in of.most_common(_MOST_EXTENSIONS)]
        more = of.total() - sum(count for _, count in of.most_common(_MOST_EXTENSIONS))
        yield PassedOver(of.total(), ", ".join(listed + ([f"{more} others"] if more else [])), why)
