"""Regressors of other packages: of volumes, or of meshes that become volumes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.core.errors import PluginError, PluginFailedError, UsageError
from facepipe.core.plugin_checks import check_protocol, check_result, plugin_fingerprint, run_plugin
from facepipe.core.plugins import ColourOrder, Plugin, load_plugin
from facepipe.geometry.mesh_volume import FaceMesh, mesh_volume
from facepipe.models.vrn.backends import Backend
from facepipe.models.vrn.base import VolumeRegressor

Image8 = NDArray[np.uint8]
Output = Literal["volume", "mesh"]


class RegressorPlugin(Protocol):
    """What a plug-in regressor declares and does.

    A plug-in may also have `fingerprint() -> str`, a digest of what its source does not say, such as its
    weights; a run that began with another one is not continued.

    Attributes:
        licence: SPDX identifier of code and weights.
        colour_order: of the images that it reads.
        deterministic: whether equal images give equal results, whatever their neighbours in a batch.
        output: 'volume', or 'mesh', which is then filled in `geometry`, see `facepipe.geometry.mesh_volume`.
        geometry: where the voxels lie.
    """

    licence: str
    colour_order: ColourOrder
    deterministic: bool
    output: Output
    geometry: VolumeGeometry

    def build(self, device: str) -> Callable[[Image8], Image8 | Sequence[FaceMesh | None]]:
        """Load what is needed, once in a process.

        Args:
            device: a torch device: 'cpu', or 'cuda' where a worker has one.

        Returns:
            A function from uint8 (N, 128, 128, 3) to uint8 occupancy (N, D, H, W) of the geometry, or to N
            meshes in reference pixels; None where it finds no face, which becomes an empty volume.
        """


@dataclass(frozen=True)
class PluginRegressor:
    """A plug-in as a regressor.

    Attributes:
        name: what it was asked for as.
        plugin: with a `RegressorPlugin`.
    """

    name: str
    plugin: Plugin

    @property
    def geometry(self) -> VolumeGeometry:
        """Where its voxels lie."""
        geometry: VolumeGeometry = self.plugin.value.geometry
        return geometry

    def fingerprint(self) -> str:
        """A digest of its source, package, version, geometry, and of what it says itself."""
        return plugin_fingerprint(self.plugin, [asdict(self.geometry)])

    def build(self, device: str = "cpu", backend: Backend = "torch") -> VolumeRegressor:  # noqa: ARG002
        """Return the loaded regressor, the same object for the same device in one process.

        A plug-in runs in its own way, whatever the backend.

        Raises:
            PluginFailedError: it fails to load.
        """
        return _built(self.name, device)


@lru_cache(maxsize=8)
def _built(name: str, device: str) -> VolumeRegressor:
    return PluginVolumes(name, device)


class PluginVolumes:
    """A loaded plug-in regressor whose results are checked, and filled where they are meshes.

    Args:
        name: what it was asked for as.
        device: a torch device.

    Raises:
        PluginError: it cannot be imported or fails to load.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        self._name, self._device = name, device
        value: RegressorPlugin = open_regressor_plugin(name).plugin.value
        self._value = value
        self._regress = run_plugin("regressor", name, lambda: value.build(device))

    def __reduce__(self) -> tuple[type[PluginVolumes], tuple[str, str]]:
        """Pickle as the name to load."""
        return PluginVolumes, (self._name, self._device)

    def __call__(self, images: Image8) -> Image8:
        """Regress uint8 RGB (N, 128, 128, 3) to uint8 occupancy (N, D, H, W).

        Raises:
            UsageError: the images have another size.
            PluginFailedError: the result has another shape or type.
            SampleError: a mesh is not finite or lies absurdly far outside.
        """
        if images.shape[1:] != (NETWORK_PX, NETWORK_PX, 3):
            raise UsageError(f"regressor {self._name!r} reads images of 128 x 128 px: got {images.shape}")
        geometry = self._value.geometry
        seen = np.ascontiguousarray(images[..., ::-1]) if self._value.colour_order == "bgr" else images
        found = run_plugin("regressor", self._name, lambda: self._regress(seen))
        if self._value.output == "volume":
            volumes = np.asarray(found)
            check_result("regressor", self._name, volumes, (len(images), *geometry.shape))
            return volumes
        if len(found) != len(images):
            raise PluginFailedError(
                f"regressor {self._name!r} gave {len(found)} meshes for {len(images)} images"
            )
        return np.stack([mesh_volume(mesh, geometry) for mesh in found])


def open_regressor_plugin(name: str) -> PluginRegressor:
    """Import a plug-in regressor.

    Raises:
        PluginError: it cannot be imported or does not keep to `RegressorPlugin`.
    """
    plugin = load_plugin("regressor", name)
    check_protocol("regressor", name, plugin.value, RegressorPlugin)
    if plugin.value.output not in get_args(Output) or not isinstance(plugin.value.geometry, VolumeGeometry):
        raise PluginError(
            f"regressor {name!r}: output is {plugin.value.output!r} and geometry {plugin.value.geometry!r}; "
            f"expected one of {', '.join(get_args(Output))} and a facepipe.VolumeGeometry"
        )
    return PluginRegressor(name, plugin)
