"""Plug-ins: methods, regressors, metrics and data sets that other packages bring.

An installed package names them as entry points in the groups of `GROUPS`; a module at hand is asked for as
`module:object`, also one in the current folder. Nothing is imported before it is asked for by name.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from facepipe.core.errors import PluginError

Kind = Literal["method", "regressor", "metric", "dataset"]

GROUPS: dict[Kind, str] = {
    "method": "facepipe.methods",
    "regressor": "facepipe.regressors",
    "metric": "facepipe.metrics",
    "dataset": "facepipe.datasets",
}
"""Group of the entry points of each kind."""

ColourOrder = Literal["rgb", "bgr"]
"""What a plug-in's images are: red first, as everywhere in facepipe, or blue first."""

_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class PluginSource:
    """Where a plug-in comes from: what a run records of it and what its workers compare.

    Attributes:
        kind: what it is.
        name: what it was asked for as.
        target: 'module:object'.
        package: the distribution that brings it, or the module.
        version: of that, or ''.
        source_sha256: digest of its source files, see `source_digest`.
        folder: where a module at hand lies, '' for one that is installed.
        licence: that it declares.
        deterministic: whether it says that equal inputs give equal outputs.
    """

    kind: Kind
    name: str
    target: str
    package: str
    version: str
    source_sha256: str
    folder: str
    licence: str
    deterministic: bool


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was imported.

    Attributes:
        source: where it comes from.
        value: the object; made without arguments where the target is a class, except for data sets.
    """

    source: PluginSource
    value: Any


def is_target(name: str) -> bool:
    """Whether a name has the form `module:object`."""
    return _TARGET.fullmatch(name) is not None


def plugin_names(kind: Kind) -> list[str]:
    """Names of the installed plug-ins of a kind, sorted; none is imported."""
    return sorted(_entry_points(kind, tuple(sys.path)))


def has_plugin(kind: Kind, name: str) -> bool:
    """Whether a name is that of an installed plug-in, or says where an object is. Nothing is imported."""
    return is_target(name) or name in _entry_points(kind, tuple(sys.path))


@lru_cache(maxsize=64)
def load_plugin(kind: Kind, name: str) -> Plugin:
    """Import a plug-in; once for a name in a process.

    Args:
        kind: what it is to be.
        name: of an entry point, or `module:object`.

    Raises:
        PluginError: it is not installed, fails to import, or lacks what every plug-in declares.
    """
    point = _entry_points(kind, tuple(sys.path)).get(name)
    if point is None and not is_target(name):
        raise PluginError(f"{kind} {name!r}: no installed package has an entry point of this name")
    target = point.value.replace(" ", "") if point is not None else name
    module_name, _, attribute = target.partition(":")
    module = _import(kind, name, module_name)
    try:
        value: Any = module
        for part in attribute.split("."):
            value = getattr(value, part)
        if inspect.isclass(value) and kind != "dataset":
            value = value()
    except Exception as error:  # anything may happen in the code of others
        raise PluginError(f"{kind} {name!r}: {_reason(error)}") from error
    package, installed = _package(point, module)
    return Plugin(
        PluginSource(
            kind=kind,
            name=name,
            target=target,
            package=package,
            version=installed,
            source_sha256=source_digest(module),
            folder="" if point is not None else _folder_at_hand(module),
            licence=_declared(kind, name, value, "licence", str),
            deterministic=_declared(kind, name, value, "deterministic", bool, True),
        ),
        value,
    )


def installed_plugins() -> tuple[list[PluginSource], list[str]]:
    """Import every installed plug-in: those that can be used, and why the others cannot."""
    usable, broken = [], []
    for kind in GROUPS:
        for name in plugin_names(kind):
            try:
                usable.append(load_plugin(kind, name).source)
            except PluginError as error:
                broken.append(str(error))
    return usable, broken


def check_installed(sources: Iterable[PluginSource]) -> None:
    """Check that this process, a worker's, has the plug-ins of a run in the same versions.

    Raises:
        PluginError: one is missing or another; the message names package and machine.
    """
    for source in sources:
        if source.folder and source.folder not in sys.path and Path(source.folder).is_dir():
            sys.path.append(source.folder)
        what = f"{source.kind} {source.name!r} of package {source.package} {source.version}".rstrip()
        try:
            found = load_plugin(source.kind, source.name).source
        except PluginError as error:
            raise PluginError(
                f"the worker on {socket.gethostname()} lacks {what} ({error}): install it there, too"
            ) from error
        if found.source_sha256 != source.source_sha256:
            raise PluginError(
                f"the worker on {socket.gethostname()} has another {what} (version {found.version or '?'}, "
                f"source {found.source_sha256[:12]} instead of {source.source_sha256[:12]}): install the "
                "same there"
            )


def source_digest(module: ModuleType) -> str:
    """A digest of a plug-in's source: every .py file of its top package, or the module's file alone."""
    top = sys.modules[module.__name__.partition(".")[0]]
    own = Path(module.__file__ or "")
    folders = [Path(folder) for folder in getattr(top, "__path__", [])]
    files = sorted({path for folder in folders for path in folder.rglob("*.py")}) or [own]
    digest = hashlib.sha256()
    for path in files:
        base = next((folder for folder in folders if path.is_relative_to(folder)), path.parent)
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.relative_to(base).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@lru_cache(maxsize=16)
def _entry_points(kind: Kind, path: tuple[str, ...]) -> dict[str, EntryPoint]:  # noqa: ARG001 - sys.path
    return {point.name: point for point in entry_points(group=GROUPS[kind])}


def _import(kind: Kind, name: str, module_name: str) -> ModuleType:
    top = module_name.partition(".")[0]
    here = str(Path.cwd())
    at_hand = Path(here, f"{top}.py").is_file() or Path(here, top).is_dir()
    try:
        if at_hand and here not in sys.path and find_spec(top) is None:
            sys.path.append(here)
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise PluginError(f"{kind} {name!r}: {_reason(error)}") from error
        raise PluginError(
            f"{kind} {name!r}: there is no module {error.name!r}, neither installed nor in {here}"
        ) from error
    except (Exception, SystemExit) as error:  # anything may happen in the code of others
        raise PluginError(f"{kind} {name!r}: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    return f"it cannot be used: {type(error).__name__}: {' '.join(str(error).split())}"


def _package(point: EntryPoint | None, module: ModuleType) -> tuple[str, str]:
    if point is not None and point.dist is not None:
        return point.dist.name, point.dist.version
    top = module.__name__.partition(".")[0]
    try:
        return top, version(top)
    except PackageNotFoundError:
        return top, str(getattr(sys.modules[top], "__version__", ""))


def _folder_at_hand(module: ModuleType) -> str:
    """The folder of sys.path in which a module lies that no package manager installed."""
    top = sys.modules[module.__name__.partition(".")[0]]
    places = [Path(folder).parent for folder in getattr(top, "__path__", [])]
    place = places[0] if places else Path(module.__file__ or "").parent
    return "" if "site-packages" in place.parts else str(place.resolve())


def _declared(kind: Kind, name: str, value: Any, attribute: str, expected: type, default: Any = None) -> Any:
    """What a plug-in declares of itself.

    Raises:
        PluginError: it is missing or of another type.
    """
    found = getattr(value, attribute, default)
    if not isinstance(found, expected):
        raise PluginError(
            f"{kind} {name!r}: `{attribute}` is {found!r}; a plug-in declares it as {expected.__name__}"
        )
    return found
