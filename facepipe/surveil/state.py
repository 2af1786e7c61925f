"""What an archive holds, for a person."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from facepipe.core.errors import FacepipeError
from facepipe.surveil.archive import Archive, read_part
from facepipe.surveil.delta_table import faces_table, files_table, stages_table, versions

GB = 1e9

ATTEMPTS = 5


def describe(archive: Archive) -> list[str]:
    """Lines that say how an archive is: whether a run works on it, what is in it, how large it is.

    A run may take files from its tables while they are read: then they are read again.

    Raises:
        UsageError: no archive, or none that this version can read.
        FacepipeError: one of its tables is damaged.
    """
    for _ in range(ATTEMPTS):
        archive.read_facts()
        before = versions(archive)
        try:
            return list(_lines(archive))
        except FacepipeError:
            if versions(archive) == before:
                raise
    raise FacepipeError(
        f"{archive.path}: its tables changed {ATTEMPTS} times while they were read; ask again"
    )


def _lines(archive: Archive) -> Iterator[str]:
    yield f"{archive.path}: archive of {archive.read_facts().created[:10]}, {_state(archive)}"
    known = files_table(archive).parts()
    files = sum(rows.num_rows for part in known for rows in read_part(part, ["size_bytes"]))
    reasons: dict[str, int] = {}
    inputs: set[str] = set()
    for part in faces_table(archive).parts():
        for rows in read_part(part, ["sha256", "reason"]):
            inputs.update(rows["sha256"].to_pylist())
            for reason in rows["reason"].to_pylist():
                reasons[reason or ""] = reasons.get(reason or "", 0) + 1
    yield f"  {files} files read, {len(inputs)} inputs, {reasons.pop('', 0)} faces"
    yield from (f"  {count:>8} {reason}" for reason, count in sorted(reasons.items()))
    last = _last_run(archive)
    if last is not None:
        yield f"  last run with anything to do: {last.isoformat(sep=' ', timespec='seconds')} UTC"
    yield f"  disk: {_size(archive.pixels_path):.2f} GB of pixels, {_size(archive.path):.2f} GB in all"


def _state(archive: Archive) -> str:
    if archive.is_in_use():
        return "a run is working on it"
    if archive.batches_path.is_dir() and any(archive.batches_path.iterdir()):
        return "a run was interrupted; the same `facepipe surveil` goes on from here"
    return "no run is working on it"


def _last_run(archive: Archive) -> datetime | None:
    started: list[datetime] = []
    for part in stages_table(archive).parts():
        for rows in read_part(part, ["started"]):
            started += rows["started"].to_pylist()
    return max(started, default=None)


def _size(folder: Path) -> float:
    """The bytes of the files below a folder, GB; what vanishes meanwhile does not count."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(root) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total / GB
