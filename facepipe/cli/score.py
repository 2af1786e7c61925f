"""`facepipe score`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facepipe.bench.config import BenchConfig
from facepipe.cli.bench import run_bench
from facepipe.cli.options import config_from, options_from
from facepipe.core.path_option import PATH

_LEFT_OUT = ("degradations", "low_px", "methods", "regressors", "results", "backend", "seed")


@click.command()
@click.argument("results", type=PATH)
@options_from(BenchConfig, leave_out=_LEFT_OUT)
@click.option("--as", "name", help="What the table calls the results; default: the name of their folder.")
def score(results: Path, name: str | None, **options: Any) -> None:
    """Score meshes (OBJ, PLY, GLB, STL, OFF) or volumes (NPY, NPZ) that another program made of --dataset.

    A file is named by the id of its sample. Topology does not matter: a mesh is voxelised and scored with
    the metrics of the benchmark, as a row of the same table. Results that are misaligned, mirrored, wrongly
    scaled or wrongly named are refused with the reason. 'facepipe bench --results NAME=FOLDER' scores them
    beside the regressors of a run.
    """
    named = f"{name}={results}" if name else str(results)
    run_bench(config_from(BenchConfig, None, options | {"results": [named], "regressors": ["none"]}))
