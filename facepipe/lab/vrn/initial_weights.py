"""Start a training from other weights, converted to its own preprocessing and volume geometry."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.inference import load_module
from facepipe.models.vrn.architectures import TrainableArchitecture
from facepipe.models.vrn.networks import NETWORKS, build_network, random_tensors
from facepipe.models.vrn.preprocessing import Preprocessing, preprocessing_of
from facepipe.models.vrn.regressors import read_geometry
from facepipe.models.weights import WeightsFile, load_tensors

KEPT_ARGUMENTS = ("nested",)
"""Arguments that a training takes over from the weights that it starts from: networks that differ in these
have the same tensors, and are trained alike."""

GROWN_ARGUMENTS = ("refinement", "context")
"""Arguments that may be 0 in the weights that a training starts from: it adds the part that they lack, whose
tensors are in modules of the argument's name."""


@dataclass(frozen=True)
class Initial:
    """Weights that a training starts from.

    Attributes:
        name: for messages.
        tensors: with the slices of the training's volumes.
        arguments: of the network.
        usage: how it is run, while it learns and afterwards.
    """

    name: str
    tensors: Mapping[str, NDArray[Any]]
    arguments: Mapping[str, Any]
    usage: Preprocessing


def start_from(file: WeightsFile, trained: TrainableArchitecture, seed: int = 0) -> Initial:
    """Take weights over for a training, with how they are to be run.

    Args:
        file: the weights.
        trained: what will be trained.
        seed: of the tensors of parts that the weights lack.

    Raises:
        UsageError: they are of another network than the one to be trained; the message names what differs.
        WeightsError: they are damaged, do not fit their own architecture, or are to be run in an unknown way.
    """
    what = f"--init {file.path} ({file.info.architecture!r})"
    if file.info.architecture != trained.architecture:
        raise UsageError(f"{what}: --arch {trained.name} trains {trained.architecture!r}")
    arguments = _all_arguments(trained.architecture, file.info.arguments)
    expected = _all_arguments(trained.architecture, trained.arguments)
    for key in sorted(arguments.keys() | expected.keys()):
        # Slices are moved and made as many as needed.
        grown = key in GROWN_ARGUMENTS and not arguments.get(key)
        if not grown and key not in (*KEPT_ARGUMENTS, "slices") and arguments.get(key) != expected.get(key):
            raise UsageError(
                f"{what}: {key} {arguments.get(key)!r}, and --arch {trained.name} has {expected.get(key)!r}"
            )
    geometry = read_geometry(file)
    if geometry.size != trained.geometry.size:
        raise UsageError(
            f"{what}: reads images of {geometry.size} px, and --arch {trained.name} has "
            f"{trained.geometry.size} px"
        )
    if geometry.depth != arguments["slices"]:
        raise WeightsError(f"{what}: slices {arguments['slices']!r}, and {geometry.depth} in its geometry")
    usage = preprocessing_of(file)
    load_module(build_network(trained.architecture, file.info.arguments), load_tensors(file.path), what)
    kept = {key: file.info.arguments[key] for key in KEPT_ARGUMENTS if key in file.info.arguments}
    parts = [key for key in GROWN_ARGUMENTS if expected.get(key) and not arguments.get(key)]
    tensors = {**_new_parts(trained, parts, seed), **initial_tensors(file, trained.geometry)}
    return Initial(what, tensors, {**trained.arguments, **kept}, usage)


def _new_parts(trained: TrainableArchitecture, parts: list[str], seed: int) -> dict[str, NDArray[Any]]:
    if not parts:
        return {}
    tensors = random_tensors(trained.architecture, trained.arguments, seed)
    return {key: value for key, value in tensors.items() if not set(parts).isdisjoint(key.split("."))}


def _all_arguments(architecture: str, given: Mapping[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(NETWORKS[architecture]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters} | dict(given)


def initial_tensors(file: WeightsFile, geometry: VolumeGeometry) -> dict[str, NDArray[Any]]:
    """The tensors of hourglass weights, their slices moved to where another geometry has them.

    Slice k of the new geometry has its centre at z = (k + 0.5 - z_zero) * spacing; its weights are those of
    the old slice there, linearly interpolated, and of the outermost one beyond the old volume.

    Args:
        file: weights of a regressor.
        geometry: of the training.
    """
    tensors = load_tensors(file.path)
    shares = slice_shares(read_geometry(file), geometry)
    moved = dict(tensors)
    for key, tensor in tensors.items():
        if ".predict." in f".{key}":
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
