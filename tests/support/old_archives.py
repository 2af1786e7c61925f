"""An archive of the format before Delta Lake, and a conversion of it that kills itself."""

from __future__ import annotations

import json
import os
import signal
import sys
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from facepipe.core.files import write_atomically
from facepipe.core.schema import FACES, FILES, STAGES
from facepipe.core.tables import write_table
from facepipe.surveil.archive import Archive

CREATED = "2025-12-31T23:59:59+00:00"

FACES_BEFORE = [
    {"face_id": "a", "sha256": "aa" * 32, "image_path": "pixels/2025-12-31/000006/a.png", "day": 30},
    {"face_id": "b", "sha256": "bb" * 32, "image_path": None, "reason": "no-face-detected", "day": 31},
    {"face_id": "c", "sha256": "cc" * 32, "image_path": "pixels/2025-12-31/000007/c.png", "day": 31},
]
FILES_BEFORE = [
    {"path": b"a.png", "size_bytes": 1, "mtime_ns": 5, "inode": 7, "sha256": "aa" * 32},
    {"path": b"b.png", "size_bytes": 2, "mtime_ns": 5, "inode": 8, "sha256": "bb" * 32},
    {"path": b"c.png", "size_bytes": 3, "mtime_ns": 5, "inode": 2**64 - 1, "sha256": "cc" * 32},
]

_INODE = FILES.get_field_index("inode")
OLD_FILES = FILES.set(_INODE, pa.field("inode", pa.uint64()))


def write_old_archive(path: Path) -> Archive:
    """Three faces on two days in three files, three known files in two, a stage, and what a dead run left."""
    archive = Archive(path)
    with archive.lock():
        pass
    parts = []

    def part(folder: str, change: int, schema: pa.Schema, *rows: dict) -> str:
        name = f"{folder}/part-{change:08d}-{len(parts):06d}.parquet"
        write_table(path / name, pa.Table.from_pylist(list(rows), schema=schema), private=True)
        return name

    for number, row in enumerate(FACES_BEFORE):
        face = {"time": datetime(2024, 1, row["day"])} | {k: v for k, v in row.items() if k != "day"}
        day = f"faces.parquet/date=2024-01-{row['day']}"
        parts.append(part(day, 3 + number, FACES, face))
    parts.append(part("files.parquet", 3, OLD_FILES, *FILES_BEFORE[:2]))
    parts.append(part("files.parquet", 5, OLD_FILES, FILES_BEFORE[2]))
    parts.append(part("stages.parquet", 6, STAGES, {"stage": "look", "items": 3}))
    part("faces.parquet/date=2024-01-30", 7, FACES, {"face_id": "never committed"})
    part("files.parquet", 2, OLD_FILES, FILES_BEFORE[0])
    said = {"format": 2, "created": CREATED, "change": 6, "batch": 7, "parts": sorted(parts)}
    write_atomically(archive.json_path, json.dumps(said).encode(), private=True)
    return archive


def main() -> None:
    """Convert ARCHIVE, and die by kill -9 at the system call number KILL_AT that changes a file."""
    from facepipe.surveil.conversion import convert

    left = int(sys.argv[2])

    def count(event: str, arguments: tuple) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_ACCMODE
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.chmod", "os.rmdir"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    convert(Archive(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
