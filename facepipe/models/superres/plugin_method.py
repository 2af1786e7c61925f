"""Super-resolution methods of other packages."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError
from facepipe.core.plugin_checks import check_protocol, check_result, plugin_fingerprint, run_plugin
from facepipe.core.plugins import ColourOrder, Plugin, load_plugin
from facepipe.models.superres.base import SuperResolver

Image8 = NDArray[np.uint8]


class MethodPlugin(Protocol):
    """What a plug-in method declares and does.

    A plug-in may also have `fingerprint() -> str`, a digest of what its source does not say, such as its
    weights; a run that began with another one is not continued.

    Attributes:
        licence: SPDX identifier of code and weights.
        low_px: sides of the images that it restores; None for every side below 128.
        colour_order: of the images that it reads and gives.
        deterministic: whether equal images give equal results, whatever their neighbours in a batch.
    """

    licence: str
    low_px: Collection[int] | None
    colour_order: ColourOrder
    deterministic: bool

    def build(self, low_px: int, device: str) -> Callable[[Image8], Image8]:
        """Load what is needed for images of one side, once in a process.

        Args:
            low_px: the side.
            device: a torch device: 'cpu', or 'cuda' where a worker has one.

        Returns:
            A function from uint8 (N, low_px, low_px, 3) to uint8 (N, 128, 128, 3).
        """


@dataclass(frozen=True)
class PluginMethod:
    """A plug-in as a method.

    Attributes:
        name: what it was asked for as.
        plugin: with a `MethodPlugin`.
    """

    name: str
    plugin: Plugin

    def fits(self, low_px: int) -> bool:
        """The sizes that it declares; any below network size where it declares none."""
        sizes = self.plugin.value.low_px
        return 1 <= low_px < NETWORK_PX if sizes is None else low_px in sizes

    def fingerprint(self, low_px: int) -> str:
        """A digest of its source, package, version, and of what it says itself."""
        return plugin_fingerprint(self.plugin, [low_px])

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Return the loaded method, the same object for the same size and device in one process.

        Raises:
            UsageError: it does not fit the size.
            PluginFailedError: it fails to load.
        """
        if not self.fits(low_px):
            raise UsageError(f"method {self.name!r} does not restore images of {low_px} px")
        return _built(self.name, low_px, device)


@lru_cache(maxsize=16)
def _built(name: str, low_px: int, device: str) -> SuperResolver:
    return PluginResolver(name, low_px, device)


class PluginResolver:
    """A loaded plug-in method whose results are checked.

    Args:
        name: what it was asked for as.
        low_px: side of the images.
        device: a torch device.

    Raises:
        PluginError: it cannot be imported or fails to load.
    """

    def __init__(self, name: str, low_px: int, device: str = "cpu") -> None:
        self._name, self._low_px, self._device = name, low_px, device
        value: MethodPlugin = open_method_plugin(name).plugin.value
        self._flips = value.colour_order == "bgr"
        self._restore = run_plugin("method", name, lambda: value.build(low_px, device))

    def __reduce__(self) -> tuple[type[PluginResolver], tuple[str, int, str]]:
        """Pickle as the name to load."""
        return PluginResolver, (self._name, self._low_px, self._device)

    def __call__(self, lowres: Image8) -> Image8:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3).

        Raises:
            UsageError: the images have another size.
            PluginFailedError: the result has another shape or type.
        """
        if lowres.shape[1:] != (self._low_px, self._low_px, 3):
            raise UsageError(f"method {self._name!r} was loaded for {self._low_px} px: got {lowres.shape}")
        images = np.ascontiguousarray(lowres[..., ::-1]) if self._flips else lowres
        restored = np.asarray(run_plugin("method", self._name, lambda: self._restore(images)))
        check_result("method", self._name, restored, (len(lowres), NETWORK_PX, NETWORK_PX, 3))
        return np.ascontiguousarray(restored[..., ::-1]) if self._flips else restored


def open_method_plugin(name: str) -> PluginMethod:
    """Import a plug-in method.

    Raises:
        PluginError: it cannot be imported or does not keep to `MethodPlugin`.
    """
    plugin = load_plugin("method", name)
    check_protocol("method", name, plugin.value, MethodPlugin)
    return PluginMethod(name, plugin)
