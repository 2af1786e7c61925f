"""`python -m benchmarks [--only NAME] [--rounds N] [--write]`: measure, print, write to README.md."""

from __future__ import annotations

import argparse
import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measure import Row, machine, table

SUBJECTS = ("voxelising", "scoring", "meshes", "storing", "restoring", "regressing", "running")
"""Modules with a function `rows`, in the order of the table."""

README = Path(__file__).with_name("README.md")
START, END = "<!-- table: python -m benchmarks --write -->", "<!-- end of table -->"


def main() -> int:
    """Run the subjects one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=SUBJECTS, action="append", help="measure only this; repeatable")
    parser.add_argument("--write", action="store_true", help=f"write the whole table to {README.name}")
    parser.add_argument("--rounds", type=int, default=3, help="medians are of three times as many or more")
    options = parser.parse_args()
    if options.only and options.write:
        parser.error("--write writes the whole table: leave --only out")
    rows: list[Row] = []
    for name in options.only or SUBJECTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").rows(options.rounds)
    text = f"{table(rows)}\n\nMeasured on {datetime.now(UTC).date()} on {machine()}.\n"
    print(text)
    if options.write:
        before, _, rest = README.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        README.write_text(f"{before}{START}\n\n{text}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
