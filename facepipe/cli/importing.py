"""Weights of other programs become facepipe's."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facepipe.errors import UsageError, WeightsError, printable
from facepipe.superres.architectures import FOREIGN
from facepipe.superres.methods import known_methods
from facepipe.superres.recognise import recognise_superres
from facepipe.vrn.regressors import check_architecture, known_regressors, parse_geometry
from facepipe.weights import (
    Tensors,
    WeightsFile,
    WeightsInfo,
    check_name,
    imported_folder,
    is_torch7,
    is_weights,
    load_tensors,
    open_weights,
    read_foreign,
    read_torch7,
    save_weights,
    shipped_folder,
    write_card,
)

DESCRIBABLE = ("degradation", "licence", "source", "training", "figures", "geometry")
"""Fields that `--describe` may set: what no file format carries."""


def import_weights(
    file: Path,
    name: str,
    kind: str | None = None,
    describe: Path | None = None,
    out: Path | None = None,
    *,
    overwrite: bool = False,
    usage: Mapping[str, str] | None = None,
    z_zero: float | None = None,
) -> WeightsFile:
    """Convert a checkpoint to facepipe's weights and write the model card beside them.

    All that could keep the weights from being run is checked before anything is written.

    Args:
        file: the checkpoint.
        name: the name that the weights get.
        kind: 'superres' or 'regressor' to refuse any other, None to accept both.
        describe: a JSON file that sets fields which no file format carries, see `DESCRIBABLE`.
        out: the folder to write to, None for the user's.
        overwrite: whether existing weights of that name may be replaced.
        usage: fields of `vrn.usage.Usage` that replace what the file's format suggests.
        z_zero: the slice coordinate at which z = 0 in a regressor's volumes, instead of the one assumed.

    Raises:
        UsageError: there is no such file, the name is taken or not allowed, or the description is not
            understood or does not fit.
        WeightsError: the file is damaged, unsafe, of another kind or of an unknown architecture, its tensors
            or its geometry are not those of its architecture, or spandrel is needed and not installed.
    """
    if not file.exists():
        raise UsageError(f"{file}: no such file; the path of a checkpoint is expected")
    target = (out or imported_folder()) / f"{check_name(name)}.safetensors"
    _check_free(name, target, overwrite=overwrite, own_folder=out is None)
    tensors, info = _recognised(file)
    if kind not in (None, info.kind):
        raise WeightsError(f"{file}: a {info.kind} of architecture {info.architecture}, not a {kind}")
    for key, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise WeightsError(f"{file}: tensor {key!r} holds values that are not finite")
    _check_fit(tensors, info, str(file))
    about = _description(describe)
    if "geometry" in about:
        info = _located(info, about.pop("geometry"), f"--describe {describe}")
    if z_zero is not None:
        info = _located(info, {"z_zero": z_zero}, "--z-zero")
    if usage:
        about["usage"] = _usage(info, usage)
    origin = info.origin or _origin(file)
    written = save_weights(target, tensors, replace(info, name=name, origin=origin, **about))
    write_card(written)
    return written


def _usage(info: WeightsInfo, given: Mapping[str, str]) -> dict[str, str]:
    from facepipe.vrn.usage import Usage

    if info.kind != "regressor":
        options = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        raise UsageError(f"{options}: for regressors only, and this is a {info.architecture}")
    return Usage(**{**info.usage, **given}).described()  # type: ignore[arg-type]


def _located(info: WeightsInfo, given: Mapping[str, Any], option: str) -> WeightsInfo:
    """The description with what a user says of the geometry, of which nothing is assumed any more."""
    if info.kind != "regressor":
        raise UsageError(f"{option}: a volume geometry is for regressors, and this is a {info.architecture}")
    geometry = {**(info.geometry or {}), **given}
    try:
        _check_geometry(geometry, info, option)
    except WeightsError as error:
        raise UsageError(str(error)) from error
    return replace(info, geometry=geometry, assumed=tuple(set(info.assumed) - set(given)))


def _check_geometry(geometry: Mapping[str, Any], info: WeightsInfo, name: str) -> None:
    depth, slices = parse_geometry(geometry, name).depth, info.arguments.get("slices")
    if depth != slices:
        raise WeightsError(
            f"{name}: a volume geometry of depth {depth}, and the network gives {slices} slices"
        )


def _check_fit(tensors: Tensors, info: WeightsInfo, name: str) -> None:
    """Check that weights can be run: architecture, tensors, and where volumes lie."""
    if info.kind == "regressor":
        from facepipe.vrn import networks

        check_architecture(info.architecture, name)
        networks.check_fit(tensors, info.architecture, info.arguments, name)
        _check_geometry(info.geometry or {}, info, name)
    elif info.architecture == FOREIGN:
        from facepipe.superres.spandrel import recognise_foreign

        recognise_foreign(tensors, name)
    else:
        from facepipe.superres.build import check_fit

        check_fit(tensors, info, name)


def _origin(file: Path) -> dict[str, str]:
    """Name and digest of the file that weights are taken from."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    # A file's name may hold bytes that are no text.
    return {"file": printable(os.fsencode(file.name).decode(errors="replace")), "sha256": digest}


def _check_free(name: str, target: Path, *, overwrite: bool, own_folder: bool) -> None:
    if target.exists() and not overwrite:
        raise UsageError(f"--as {name}: {target} exists; use another name, or --replace")
    taken = {*known_methods(), *known_regressors()} if own_folder else set()
    if name in taken and (not target.exists() or (shipped_folder() / target.name).exists()):
        raise UsageError(f"--as {name}: facepipe itself uses this name; use another one")


def _recognised(file: Path) -> tuple[Tensors, WeightsInfo]:
    if is_weights(file):
        return load_tensors(file), open_weights(file).info
    if is_torch7(file):
        from facepipe.vrn.torch7 import recognise_torch7

        return recognise_torch7(read_torch7(file), str(file))
    # These compare with networks, which torch builds.
    from facepipe.vrn.recognise import recognise_regressor
    from facepipe.vrn.study import recognise_study

    tensors = read_foreign(file)
    for recognise in (recognise_superres, recognise_study, recognise_regressor):
        found = recognise(tensors, str(file))
        if found is not None:
            return found
    from facepipe.superres.spandrel import recognise_foreign

    try:
        return recognise_foreign(tensors, str(file))
    except WeightsError as error:
        some = ", ".join(sorted(tensors)[:3])
        raise WeightsError(
            f"{file}: its {len(tensors)} tensors ({some}, ...) belong to no network that facepipe knows; "
            f"{str(error).removeprefix(f'{file}: ')}"
        ) from error


def _description(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--describe {path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict) or not values.keys() <= set(DESCRIBABLE):
        raise UsageError(f"--describe {path}: expected an object with keys among {', '.join(DESCRIBABLE)}")
    for key, value in values.items():
        expected = dict if key in ("training", "figures", "geometry") else str
        if not isinstance(value, expected):
            raise UsageError(
                f"--describe {path}: {key} should be {'an object' if expected is dict else 'text'}"
            )
    return values
