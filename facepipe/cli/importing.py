"""Weights of other programs become facepipe's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facepipe.errors import UsageError, WeightsError
from facepipe.superres.methods import known_methods
from facepipe.superres.recognise import recognise_superres
from facepipe.vrn.recognise import recognise_regressor
from facepipe.vrn.regressors import known_regressors
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
) -> WeightsFile:
    """Convert a checkpoint to facepipe's weights and write the model card beside them.

    Args:
        file: the checkpoint.
        name: the name that the weights get.
        kind: 'superres' or 'regressor' to refuse any other, None to accept both.
        describe: a JSON file that sets fields which no file format carries, see `DESCRIBABLE`.
        out: the folder to write to, None for the user's.
        overwrite: whether existing weights of that name may be replaced.
        usage: fields of `vrn.usage.Usage` that replace what the file's format suggests.

    Raises:
        UsageError: there is no such file, the name is taken or not allowed, or the description is not
            understood.
        WeightsError: the file is damaged, unsafe, of another kind or of an unknown architecture.
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
    about = _description(describe)
    if "geometry" in about:
        about["geometry"] = {**(info.geometry or {}), **about["geometry"]}
    if usage:
        about["usage"] = _usage(info, usage)
    written = save_weights(target, tensors, replace(info, name=name, **about))
    write_card(written)
    return written


def _usage(info: WeightsInfo, given: Mapping[str, str]) -> dict[str, str]:
    from facepipe.vrn.usage import Usage

    if info.kind != "regressor":
        options = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        raise UsageError(f"{options}: for regressors only, and this is a {info.architecture}")
    return Usage(**{**info.usage, **given}).described()  # type: ignore[arg-type]


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
    from facepipe.vrn.study import recognise_study

    tensors = read_foreign(file)
    for recognise in (recognise_superres, recognise_study, recognise_regressor):
        found = recognise(tensors, str(file))
        if found is not None:
            return found
    some = ", ".join(sorted(tensors)[:3])
    raise WeightsError(
        f"{file}: its {len(tensors)} tensors ({some}, ...) belong to no network that facepipe knows; "
        f"for super-resolution, '--methods file:{file}' runs whatever spandrel recognises"
    )


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
