"""`facepipe models import`: convert checkpoints of other programs to facepipe's weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from facepipe.cli.describe_weights import check_description, read_description
from facepipe.core.errors import UsageError, WeightsError, printable
from facepipe.models.superres.architectures import SPANDREL
from facepipe.models.superres.detect_architecture import detect_superres
from facepipe.models.superres.methods import known_methods
from facepipe.models.vrn.regressors import check_architecture, known_regressors, parse_geometry
from facepipe.models.weights import (
    Tensors,
    WeightsFile,
    WeightsInfo,
    check_name,
    find_network,
    imported_folder,
    is_torch7,
    is_weights,
    list_weights,
    load_tensors,
    open_weights,
    read_torch7,
    save_weights,
    shipped_folder,
    write_card,
)


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

    All that could keep the weights from being run or described is checked before anything is written.
    Figures that facepipe's own weights bring along are left out where the network is run in another way, or
    its volumes lie elsewhere, than when they were measured.

    Args:
        file: the checkpoint.
        name: the name that the weights get.
        kind: 'superres' or 'regressor' to refuse any other, None to accept both.
        describe: a JSON file that sets fields which no file format carries, see `describing`.
        out: the folder to write to, None for the user's.
        overwrite: whether existing weights of that name may be replaced.
        usage: fields of `vrn.preprocessing.Preprocessing` that replace what the file's format suggests.
        z_zero: the slice coordinate at which z = 0 in a regressor's volumes, instead of the one assumed.

    Raises:
        UsageError: there is no such file, the name is taken or not allowed, or the description is not
            understood or does not fit.
        WeightsError: the file is damaged, unsafe, of another kind or of an unknown architecture, its tensors
            or its geometry are not those of its architecture, its description is damaged, or spandrel is
            needed and not installed.
    """
    if not file.exists():
        raise UsageError(f"{file}: no such file; the path of a checkpoint is expected")
    target = (out or imported_folder()) / f"{check_name(name)}.safetensors"
    _check_free(name, target, overwrite=overwrite, own_folder=out is None)
    tensors, info = _detected(file)
    if kind not in (None, info.kind):
        raise WeightsError(f"{file}: a {info.kind} of architecture {info.architecture}, not a {kind}")
    for key, tensor in tensors.items():
        if not np.all(np.isfinite(tensor)):
            raise WeightsError(f"{file}: tensor {key!r} holds values that are not finite")
    _check_fit(tensors, info, str(file))
    about = read_description(describe)
    said = {} if z_zero is None else {"--z-zero": {"z_zero": z_zero}}
    if "geometry" in about:
        said = {f"--describe {describe}": about.pop("geometry"), **said}
    info = _run_as(_located(info, said, str(file)), usage or {}, str(file))
    described = replace(info, name=name, origin=info.origin or _origin(file), **about)
    check_description(described, str(file))
    written = save_weights(target, tensors, described)
    write_card(written)
    return written


def _run_as(info: WeightsInfo, given: Mapping[str, str], name: str) -> WeightsInfo:
    """The description with what a user says of how a regressor is run."""
    if info.kind != "regressor":
        options = ", ".join(f"--{key.replace('_', '-')}" for key in given)
        if given:
            raise UsageError(f"{options}: for regressors only, and this is a {info.architecture}")
        return info
    from facepipe.models.vrn.preprocessing import OWN, parse_preprocessing

    usage = parse_preprocessing({**info.usage, **given}, name)
    same = asdict(usage) == {**asdict(OWN), **info.usage}
    return replace(info, usage=usage.described(), colour=usage.colour, figures=info.figures if same else {})


def _located(info: WeightsInfo, said: Mapping[str, Mapping[str, Any]], name: str) -> WeightsInfo:
    """The description with what a user says of the geometry, of which nothing is assumed any more.

    Args:
        info: of the weights.
        said: fields of the geometry, by the option that gives them.
        name: of the file, for messages.

    Raises:
        UsageError: the network cannot give such volumes, or gives none.
        WeightsError: nothing was said, and it cannot give the volumes that it should.
    """
    options = " with ".join(said)
    if info.kind != "regressor":
        if said:
            raise UsageError(
                f"{options}: a volume geometry is for regressors, and this is a {info.architecture}"
            )
        return info
    given = {key: value for fields in said.values() for key, value in fields.items()}
    old = dict(info.geometry or {})
    try:
        _check_geometry(old | given, info, options or name, where_given="z_zero" in given)
    except WeightsError as error:
        if not said:
            raise
        raise UsageError(str(error)) from error
    return replace(
        info,
        geometry=old | given,
        assumed=tuple(set(info.assumed) - set(given)),
        figures=info.figures if old | given == old else {},
    )


def _check_geometry(values: Mapping[str, Any], info: WeightsInfo, name: str, *, where_given: bool) -> None:
    """Check that a network gives volumes of a geometry, and z = 0 lies in them where a user says where."""
    from facepipe.models.vrn.networks import check_run

    geometry, slices = parse_geometry(values, name), info.arguments.get("slices")
    if geometry.depth != slices:
        raise WeightsError(
            f"{name}: a volume geometry of depth {geometry.depth}, and the network gives {slices} slices"
        )
    if where_given and not 0 <= geometry.z_zero <= geometry.depth:
        raise WeightsError(
            f"{name}: a z_zero of {geometry.z_zero:g} is outside the volume; expected 0 to {geometry.depth}, "
            "its number of slices"
        )
    check_run(info.architecture, info.arguments, geometry, name)


def _check_fit(tensors: Tensors, info: WeightsInfo, name: str) -> None:
    """Check architecture and tensors of weights."""
    if info.kind == "regressor":
        from facepipe.models.vrn import networks

        check_architecture(info.architecture, name)
        networks.check_fit(tensors, info.architecture, info.arguments, name)
    elif info.architecture == SPANDREL:
        from facepipe.models.superres.spandrel import detect_spandrel

        if detect_spandrel(tensors, name) is None:
            raise WeightsError(f"{name}: spandrel knows no architecture with these tensors")
    else:
        from facepipe.models.superres.build import check_fit

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
    members = [file for file in list_weights("superres") if file.path.stem == f"{name}-x{file.info.scale}"]
    if name in taken and members and not any(file.shipped for file in members) and not target.exists():
        together = ", ".join(file.path.stem for file in members)
        raise UsageError(f"--as {name}: what {together} are called together; use another name")
    if name in taken and (not target.exists() or (shipped_folder() / target.name).exists()):
        raise UsageError(f"--as {name}: facepipe itself uses this name; use another one")


def _detected(file: Path) -> tuple[Tensors, WeightsInfo]:
    if is_weights(file):
        return load_tensors(file), open_weights(file).info
    if is_torch7(file):
        from facepipe.models.vrn.torch7 import detect_torch7

        return detect_torch7(read_torch7(file), str(file))
    # These compare with networks, which torch builds.
    from facepipe.models.superres.spandrel import detect_spandrel
    from facepipe.models.vrn.detect_architecture import detect_regressor
    from facepipe.models.vrn.study_2019 import detect_study

    own = (detect_superres, detect_study, detect_regressor)
    return find_network(file, own, (detect_spandrel,))
