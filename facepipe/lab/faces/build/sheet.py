"""Draws the contact sheet of the documentation: `python -m facepipe.lab.faces.build.sheet --out FILE`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image

from facepipe.core.path_option import PATH
from facepipe.lab.faces.factory import render, sample
from facepipe.lab.faces.seeds import face_seed

SIDE = 8
TILE_PX = 160
JPEG_QUALITY = 88


@click.command()
@click.option("--out", type=PATH, required=True, help="Picture to write.")
@click.option("--first", default=0, show_default=True, help="First of the validation faces to show.")
def main(out: Path, first: int) -> None:
    """Write 64 faces, as they come, on one sheet."""
    tiles = [render(sample(face_seed("validation", first + i)), TILE_PX) for i in range(SIDE * SIDE)]
    rows = [np.concatenate(tiles[i : i + SIDE], axis=1) for i in range(0, len(tiles), SIDE)]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out, "JPEG", quality=JPEG_QUALITY, optimize=True)


if __name__ == "__main__":
    main()
