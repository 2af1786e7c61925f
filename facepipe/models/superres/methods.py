"""The explicit list of super-resolution methods.

Interpolations; every shipped or imported weights file of kind 'superres', under its own name; and
families: files `NAME-x2`, `NAME-x4`, ... together answer to `NAME`, which picks by the size needed.
`file:PATH` is a weights file on disk; other packages bring plug-ins (`facepipe.core.plugins`). Asking
needs no torch: it is imported when a network is built, and to look into a `file:` that is not facepipe's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from facepipe.core.errors import UsageError
from facepipe.core.names import unknown
from facepipe.core.paths import absolute
from facepipe.core.plugins import has_plugin, plugin_names
from facepipe.models.superres.base import Method
from facepipe.models.superres.interpolate import INTERPOLATIONS
from facepipe.models.superres.networks import FilePathMethod, WeightsFamily, WeightsMethod
from facepipe.models.superres.plugin_method import open_method_plugin
from facepipe.models.weights import WeightsFile, find_weights, list_weights, weights_at

FILE_PREFIX = "file:"


def get_method(name: str) -> Method:
    """Return the method of a name.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
        PluginError: it is a plug-in that cannot be used.
        WeightsError: its weights are missing, damaged or of an unknown architecture.
    """
    for interpolation in INTERPOLATIONS:
        if interpolation.name == name:
            return interpolation
    if name.startswith(FILE_PREFIX):
        return FilePathMethod(name, absolute(name.removeprefix(FILE_PREFIX)))
    file = find_weights(name, "superres")
    if file is not None:
        return WeightsMethod(name, file)
    members = _families().get(name)
    if members:
        return WeightsFamily(name, tuple(WeightsMethod(member.path.stem, member) for member in members))
    if has_plugin("method", name):
        return open_method_plugin(name)
    others = [*plugin_names("method"), f"{FILE_PREFIX}PATH", "module:object"]
    raise unknown("method", name, [*known_methods(), *others])


def open_network(name_or_file: str) -> WeightsMethod:
    """Return the network of a name, or that of a weights file (`*.safetensors`) which was not imported.

    Raises:
        UsageError: there is none of that name, no such file, or it is an interpolation or a family of several
            scales.
        WeightsError: the weights are damaged, of another kind or of an unknown architecture.
    """
    file = weights_at(name_or_file)
    if file is not None:
        return WeightsMethod(file.info.name, file)
    method = get_method(name_or_file)
    if not isinstance(method, WeightsMethod):
        single = ", ".join(weights.path.stem for weights in list_weights("superres"))
        raise UsageError(f"{name_or_file}: weights of one scale are needed here, such as {single}")
    return method


def known_methods() -> list[str]:
    """Names of all methods but `file:` and plug-ins: interpolations, families, then single weights."""
    singles = [file.path.stem for file in list_weights("superres")]
    return list(dict.fromkeys([*(method.name for method in INTERPOLATIONS), *_families(), *singles]))


def resolve_methods(names: Iterable[str], low_px: Sequence[int]) -> list[str]:
    """Resolve what a user asked for to names, each once, in the order asked for.

    Args:
        names: methods; 'all' stands for every interpolation and every trained network, shipped or
            imported, that fits at least one of the sizes (a family counts once, not by its members).
            Paths of `file:` become absolute.
        low_px: sides of the low-resolution images.

    Raises:
        UsageError: a name is unknown, or a method named explicitly does not fit every size.
        WeightsError: the weights of a named method are missing, damaged or unknown.
    """
    resolved: list[str] = []
    for name in names:
        if name == "all":
            methods = [get_method(trained) for trained in _trained_methods()]
            resolved += [method.name for method in methods if any(method.fits(px) for px in low_px)]
        else:
            resolved.append(_named(name, low_px))
    return list(dict.fromkeys(resolved))


def _named(name: str, low_px: Sequence[int]) -> str:
    if name.startswith(FILE_PREFIX):
        name = FILE_PREFIX + str(absolute(name.removeprefix(FILE_PREFIX)).resolve())
    method = get_method(name)
    fitting = [px for px in low_px if method.fits(px)]
    if len(fitting) != len(low_px):
        misfits = ", ".join(str(px) for px in low_px if px not in fitting)
        fits = f" (it fits {', '.join(str(px) for px in fitting)})" if fitting else ""
        raise UsageError(
            f"method {name!r} does not fit low_px {misfits}{fits}: name other sizes, or use 'all', which "
            "leaves out what does not fit"
        )
    return name


def _trained_methods() -> list[str]:
    families = {
        name: [file for file in members if file.info.trained] for name, members in _families().items()
    }
    in_family = {file.path for members in families.values() for file in members}
    singles = [
        file.path.stem
        for file in list_weights("superres")
        if file.info.trained and file.path not in in_family
    ]
    return [
        *(method.name for method in INTERPOLATIONS),
        *(name for name in families if families[name]),
        *singles,
    ]


def _families() -> dict[str, list[WeightsFile]]:
    """Weights by family name: what is left of `NAME-x4` without the suffix of its own scale."""
    files = list_weights("superres")
    taken = {file.path.stem for file in files} | {method.name for method in INTERPOLATIONS}
    families: dict[str, list[WeightsFile]] = {}
    for file in files:
        name = file.path.stem.removesuffix(f"-x{file.info.scale}")
        if name not in taken:
            families.setdefault(name, []).append(file)
    return families
