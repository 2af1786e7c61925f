"""ESPCN over files, against a model that is loaded anew for each image."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.inputs import references
from benchmarks.measure import Row, compare, require
from facepipe.core.conventions import NETWORK_PX
from facepipe.imaging.degrade import degrade
from facepipe.imaging.images import read_image
from facepipe.models.superres.espcn import Espcn
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.resolver import network_from
from facepipe.models.weights import find_weights

TARGETS = {2: 12.0, 4: 35.0}


def restore_one(checkpoint: Path, picture: Path) -> NDArray[np.uint8]:
    """The usual way for one image: unpickle the whole model, decode, enlarge luma, merge with chroma."""
    torch.set_num_threads(1)
    network = torch.load(checkpoint, weights_only=False).eval()
    y, cb, cr = Image.open(picture).convert("YCbCr").split()
    luma = torch.from_numpy(np.asarray(y, np.float32) / 255)[None, None]
    with torch.no_grad():
        enlarged = (network(luma)[0, 0] * 255 + 0.5).clamp(0, 255).to(torch.uint8).numpy()
    size = (NETWORK_PX, NETWORK_PX)
    bands = [band.resize(size, Image.Resampling.BICUBIC) for band in (cb, cr)]
    return np.asarray(Image.merge("YCbCr", [Image.fromarray(enlarged), *bands]).convert("RGB"))


def rows(rounds: int) -> list[Row]:
    """Two scales."""
    return [_row(scale, rounds) for scale in TARGETS]


def _row(scale: int, rounds: int) -> Row:
    low_px = NETWORK_PX // scale
    file = find_weights(f"espcn-x{scale}", "superres")
    if file is None:
        raise RuntimeError(f"the weights espcn-x{scale} are missing")
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder, "whole.pth")
        torch.save(network_from(Espcn, file), checkpoint)
        pictures = [Path(folder, f"{i:02d}.png") for i in range(len(references()))]
        for picture, image in zip(pictures, references(), strict=True):
            Image.fromarray(degrade(image, "area", low_px, 0, "")).save(picture)
        resolver = get_method("espcn").build(low_px)
        usual = lambda: np.stack([restore_one(checkpoint, picture) for picture in pictures])  # noqa: E731
        ours = lambda: resolver(np.stack([read_image(picture)[0] for picture in pictures]))  # noqa: E731
        off = int(np.abs(usual().astype(int) - ours()).max())
        require(off <= 1, f"images by {off} grey levels")
        return compare(
            f"ESPCN x{scale}, {len(pictures)} PNG files",
            "model unpickled for each image",
            usual,
            ours,
            target=TARGETS[scale],
            check=f"within {off} grey levels",
            runs=3 * rounds,
        )
