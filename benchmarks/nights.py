"""Does an archive stay quick over the years? `python -m benchmarks.nights [--n 1000] [--rows 100]`.

Gives the tables of an archive what so many nightly runs give them, one batch each with faces of the day and
of the day before, without the networks; then opens the archive in a new process and asks it two questions.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from facepipe.core.schema import STAGES
from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import TableChange, faces_table, files_table
from facepipe.surveil.upkeep import finish, sweep

FIRST = datetime(2020, 1, 1, tzinfo=UTC)
SHOW_EVERY = 100

QUESTIONS = """
import sys, time
from pathlib import Path
from facepipe.surveil.archive import Archive
from facepipe.surveil.delta_table import faces_table
from facepipe.results.query import ask
path = Path(sys.argv[1])
for what, step in (
    ("open the table of faces", lambda: faces_table(Archive(path)).dataset()),
    ("count all rows", lambda: ask(path, "select count(*) from faces")),
    ("count the rows of one date", lambda: ask(path, "select count(*) from faces where date = '2020-01-02'")),
):
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    print(f"| {what} | {time.perf_counter() - wall:.3f} | {time.process_time() - cpu:.3f} |")
"""


def night(archive: Archive, number: int, rows: int) -> None:
    """What one run with one batch does to the tables."""
    day = FIRST + timedelta(days=number)
    sweep(archive)
    shas = [f"{number:032d}{index:032d}" for index in range(rows)]
    known = [
        {"path": sha.encode(), "size_bytes": 1, "mtime_ns": 1, "inode": 1, "sha256": sha} for sha in shas
    ]
    change = TableChange(files_table(archive))
    change.add([pa.Table.from_pylist(known, schema=files_table(archive).schema)], str(day.date()))
    change.commit(number + 1)
    change = TableChange(faces_table(archive))
    for back in (0, 1):
        time_of = (day - timedelta(days=back)).replace(tzinfo=None)
        faces = [{"face_id": sha, "sha256": sha, "time": time_of} for sha in shas[back::2]]
        change.add([pa.Table.from_pylist(faces, schema=faces_table(archive).schema)], str(time_of.date()))
    change.commit(number + 1)
    finish(archive, pa.Table.from_pylist([{"started": day.replace(tzinfo=None)}], schema=STAGES))


def main() -> None:
    """Live through the nights, ask, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nights", description=__doc__)
    parser.add_argument("--n", type=int, default=1000, help="nights")
    parser.add_argument("--rows", type=int, default=100, help="rows a night")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        archive = Archive(Path(folder) / "archive")
        with archive.lock():
            archive.create()
            print("| night | CPU, ms a night | files of faces | log, MB |\n|---|---|---|---|")
            began = time.process_time()
            for number in range(options.n):
                night(archive, number, options.rows)
                if (number + 1) % SHOW_EVERY == 0 or number + 1 == options.n:
                    spent = 1000 * (time.process_time() - began) / ((number % SHOW_EVERY) + 1)
                    log = sum(path.stat().st_size for path in faces_table(archive).log_path.iterdir()) / 1e6
                    print(f"| {number + 1} | {spent:.0f} | {len(faces_table(archive).parts())} | {log:.1f} |")
                    began = time.process_time()
        print("\n| in a new process | seconds | CPU seconds |\n|---|---|---|", flush=True)
        subprocess.run([sys.executable, "-c", QUESTIONS, str(archive.path)], check=True)


if __name__ == "__main__":
    main()
