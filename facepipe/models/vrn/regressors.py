"""The explicit list of regressors: shipped and imported weights, and plug-ins.

Asking needs no torch: it is imported when a network is built.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.names import unknown
from facepipe.core.plugins import has_plugin, plugin_names
from facepipe.models.vrn.backends import Backend, check_backend
from facepipe.models.vrn.base import Regressor, VolumeRegressor
from facepipe.models.vrn.plugin_regressor import open_regressor_plugin
from facepipe.models.weights import FILE_SUFFIXES, WeightsFile, find_weights, list_weights, weights_at

ARCHITECTURES = ("hourglass", "thirds", "vrn")
"""Every architecture that weights of kind 'regressor' may have."""

# Raised when the way from weights to volumes changes, so that old runs are not mixed with new ones.
_REVISION = 1


@dataclass(frozen=True)
class WeightsRegressor:
    """A regressor made of a weights file.

    Attributes:
        name: the regressor's name.
        file: its weights.
        geometry: of its volumes.
    """

    name: str
    file: WeightsFile
    geometry: VolumeGeometry

    def fingerprint(self) -> str:
        """A digest of weights, geometry and the way they are used."""
        parts = [self.file.info.architecture, _REVISION, self.file.identity, asdict(self.geometry)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def build(self, device: str = "cpu", backend: Backend = "torch") -> VolumeRegressor:
        """Return the loaded network, the same object for the same weights and device in one process.

        Args:
            device: a torch device; OpenVINO runs on the CPU only.
            backend: what runs it.

        Raises:
            WeightsError: the file is damaged or does not fit its architecture.
            UsageError: the device does not exist, or the backend is not installed or cannot use it.
        """
        check_backend(backend)
        return _built(self.fingerprint(), self.file, self.geometry, device, backend)


@functools.lru_cache(maxsize=8)
def _built(
    fingerprint: str,  # noqa: ARG001
    file: WeightsFile,
    geometry: VolumeGeometry,
    device: str,
    backend: Backend,
) -> VolumeRegressor:
    if backend == "openvino":
        if device != "cpu":
            raise UsageError(f"backend 'openvino' runs on the CPU, not on {device!r}: use --backend torch")
        from facepipe.models.vrn.openvino import OpenVinoRegressor

        return OpenVinoRegressor(file, geometry)
    from facepipe.models.vrn.run_hourglass import HourglassRegressor

    return HourglassRegressor(file, geometry, device, bf16=backend == "torch-bf16")


def get_regressor(name: str, others: Iterable[str] = ()) -> Regressor:
    """Return the regressor of a name.

    Args:
        name: which.
        others: what a user could have asked for instead, for the message.

    Raises:
        UsageError: there is none of that name; the message suggests a near one.
        PluginError: it is a plug-in that cannot be used.
        WeightsError: its weights are damaged or of an unknown architecture.
    """
    file = find_weights(name, "regressor")
    if file is None and has_plugin("regressor", name):
        return open_regressor_plugin(name)
    if file is None and name.endswith(FILE_SUFFIXES):
        raise UsageError(
            f"{name}: regressors are asked for by name; import it first: facepipe models import {name} "
            "--as NAME"
        )
    if file is None:
        known = [*known_regressors(), *plugin_names("regressor"), "module:object", *others]
        raise unknown("regressor", name, known)
    return _regressor(name, file)


def open_regressor(name_or_file: str) -> WeightsRegressor:
    """Return the regressor of a name, or that of a weights file (`*.safetensors`) which was not imported.

    Raises:
        UsageError: there is none of that name, no such file, or it is a plug-in.
        WeightsError: the weights are damaged, of another kind or of an unknown architecture.
    """
    file = weights_at(name_or_file)
    if file is None:
        found = get_regressor(name_or_file)
        if not isinstance(found, WeightsRegressor):
            raise UsageError(f"{name_or_file}: a plug-in; weights are needed here, such as vrn-compact")
        return found
    if file.info.kind != "regressor":
        raise WeightsError(f"{file.path}: weights of kind {file.info.kind!r}; a regressor is needed here")
    return _regressor(file.info.name, file)


def _regressor(name: str, file: WeightsFile) -> WeightsRegressor:
    check_architecture(file.info.architecture, str(file.path))
    return WeightsRegressor(name, file, read_geometry(file))


def check_architecture(architecture: str, name: str) -> None:
    """Refuse weights that no code here can run.

    Args:
        architecture: of a regressor.
        name: of its file, for messages.

    Raises:
        WeightsError: it is none of `ARCHITECTURES`.
    """
    if architecture not in ARCHITECTURES:
        raise WeightsError(
            f"{name}: architecture {architecture!r} is none of {', '.join(ARCHITECTURES)}; it may need a "
            "newer facepipe"
        )


def known_regressors() -> list[str]:
    """Names of all shipped and imported regressors, without plug-ins."""
    return [file.path.stem for file in list_weights("regressor")]


def resolve_regressors(names: Iterable[str]) -> list[str]:
    """Resolve what a user asked for to names, each once, in the order asked for.

    Args:
        names: regressors; 'all' stands for every shipped and imported one that was trained,
            'none' for none.

    Raises:
        UsageError: a name is unknown.
    """
    resolved: list[str] = []
    for name in names:
        if name == "all":
            resolved += [file.path.stem for file in list_weights("regressor") if file.info.trained]
        elif name != "none":
            resolved.append(get_regressor(name, others=("all", "none")).name)
    return list(dict.fromkeys(resolved))


def read_geometry(file: WeightsFile) -> VolumeGeometry:
    """The geometry of the volumes of a regressor's weights.

    Raises:
        WeightsError: their description has none, or an absurd one.
    """
    return parse_geometry(file.info.geometry or {}, str(file.path))


def parse_geometry(values: Mapping[str, Any], name: str) -> VolumeGeometry:
    """A volume geometry from its fields, `spacing` and any others.

    Args:
        values: of `VolumeGeometry`.
        name: of the file, for messages.

    Raises:
        WeightsError: a field is missing, unknown or absurd; the message names it.
    """
    known = [field.name for field in fields(VolumeGeometry)]
    for key in values.keys() - known:
        raise WeightsError(f"{name}: a volume geometry with {key!r}, which is none of {', '.join(known)}")
    if "spacing" not in values:
        raise WeightsError(f"{name}: a regressor's volume geometry is needed, with a spacing at least")
    spacing = values["spacing"]
    right = {
        "size": _whole_up_to(values.get("size", 1), 1024),
        "depth": _whole_up_to(values.get("depth", 1), 4096),
        "spacing": isinstance(spacing, list | tuple)
        and len(spacing) == 3
        and all(_finite(value) and value > 0 for value in spacing),
        "z_zero": _finite(values.get("z_zero", 0)),
    }
    for key, is_right in right.items():
        if not is_right:
            raise WeightsError(f"{name}: a volume geometry with the absurd {key} {values[key]!r}")
    return VolumeGeometry(**{**values, "spacing": tuple(float(value) for value in spacing)})


def _whole_up_to(value: Any, most: int) -> bool:
    return type(value) is int and 1 <= value <= most


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
