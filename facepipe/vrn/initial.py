"""Starting a training from other weights, whose volumes may lie elsewhere along z."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.conventions import VolumeGeometry
from facepipe.vrn.regressors import read_geometry
from facepipe.weights import WeightsFile, load_tensors


def initial_tensors(file: WeightsFile, geometry: VolumeGeometry) -> dict[str, NDArray[Any]]:
    """The tensors of hourglass weights, their slices moved to where another geometry has them.

    Slice k of the new geometry has its centre at z = (k + 0.5 - z_zero) * spacing; its weights are those of
    the old slice there, linearly interpolated, and of the outermost one beyond the old volume.

    Args:
        file: weights of architecture 'hourglass'.
        geometry: of the training.
    """
    tensors = load_tensors(file.path)
    shares = slice_shares(read_geometry(file), geometry)
    moved = dict(tensors)
    for key, tensor in tensors.items():
        if ".predict." in key:
            moved[key] = np.tensordot(shares, tensor, 1).astype(tensor.dtype)
        elif key.endswith("carry_volume.weight"):
            # It reads slices: each new one passes on what its part of the old ones did.
            moved[key] = np.einsum("nk,ckyx->cnyx", shares, tensor).astype(tensor.dtype)
    return moved


def slice_shares(old: VolumeGeometry, new: VolumeGeometry) -> NDArray[np.float64]:
    """How much of each old slice makes a new one: (new depth, old depth), rows sum to 1."""
    old_px, new_px = (geometry.spacing[0] * geometry.reference_px for geometry in (old, new))
    z_px = (np.arange(new.depth) + 0.5 - new.z_zero) * new_px
    # Geometries are written in decimal; a shift by whole slices is to stay one.
    position = np.round(z_px / old_px + old.z_zero - 0.5, 6)
    position = np.clip(position, 0, old.depth - 1)
    below = np.minimum(position.astype(int), max(old.depth - 2, 0))
    shares = np.zeros((new.depth, old.depth))
    rows = np.arange(new.depth)
    shares[rows, below] = 1 - (position - below)
    if old.depth > 1:
        shares[rows, below + 1] = position - below
    return shares
