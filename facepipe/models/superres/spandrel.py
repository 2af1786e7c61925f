"""Networks that spandrel knows, as super-resolvers: imported ones, and files named by their path.

A file is read by facepipe's own readers, so nothing in it can run; spandrel tells the architecture from
names and shapes. How an output reaches network size:

- a super-resolver of scale 2 or more runs as often as needed, on its own output, to reach 128 px; what
  overshoots is averaged down by area;
- a face restorer of scale 1 gets the image enlarged to the 512 px that such networks are trained at, by
  bicubic interpolation, and its output is averaged down by area;
- anything else is refused.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.inference import open_device, run_batched
from facepipe.models.superres.architectures import SPANDREL
from facepipe.models.superres.base import SuperResolver
from facepipe.models.superres.networks import SPANDREL_REVISION, spandrel_fits
from facepipe.models.superres.spandrel_import import import_spandrel
from facepipe.models.weights import (
    Tensors,
    WeightsInfo,
    find_network,
    is_weights,
    load_tensors,
)

FACE_RESTORER_PX = 512


@dataclass(frozen=True)
class SpandrelNetwork:
    """A weights file and what spandrel found in it, as a method.

    Attributes:
        name: the method's name.
        path: the file.
        sha256: hex digest of its bytes.
        architecture: spandrel's name of the architecture.
        scale: enlargement factor of one run.
        restores_faces: whether it is a face restorer.
    """

    name: str
    path: Path
    sha256: str
    architecture: str
    scale: int
    restores_faces: bool

    def fingerprint(self, low_px: int) -> str:  # noqa: ARG002
        """A digest of the weights and the way they are used."""
        parts = [self.architecture, SPANDREL_REVISION, self.sha256]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def fits(self, low_px: int) -> bool:
        """Any size below that of the network."""
        return spandrel_fits(low_px)

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Return the loaded network, the same object for the same file and device in one process.

        Raises:
            UsageError: it does not fit the size, or the device does not exist.
            WeightsError: the file changed since it was opened, and is no longer usable.
        """
        if not self.fits(low_px):
            raise UsageError(f"{self.path}: enlarges to {NETWORK_PX} px, and {low_px} px is not below it")
        return _built(self, device)


@functools.lru_cache(maxsize=4)
def _built(network: SpandrelNetwork, device: str) -> SuperResolver:
    return SpandrelResolver(network.path, network.restores_faces, device)


def open_spandrel_file(name: str, path: Path) -> SpandrelNetwork:
    """Find out what a weights file is.

    Args:
        name: the name that the method gets.
        path: the file.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, or no network that restores RGB images to a
            larger size; or spandrel is not installed.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from error
    return _opened(name, path, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _opened(name: str, path: Path, size: int, mtime_ns: int) -> SpandrelNetwork:  # noqa: ARG001
    descriptor = find_network(path, [_load])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return SpandrelNetwork(
        name, path, digest, descriptor.architecture.name, descriptor.scale, _restores_faces(descriptor)
    )


def detect_spandrel(tensors: Tensors, name: str) -> tuple[dict[str, NDArray[Any]], WeightsInfo] | None:
    """Tell from tensors which of the architectures that spandrel knows they belong to.

    Args:
        tensors: by name.
        name: for messages.

    Returns:
        The tensors and their description; None if spandrel knows no such network.

    Raises:
        WeightsError: it is no network that restores RGB images to a larger size, or spandrel is not
            installed.
    """
    descriptor = _load(tensors, name)
    if descriptor is None:
        return None
    info = WeightsInfo(
        name=name,
        kind="superres",
        architecture=SPANDREL,
        arguments={
            "network": descriptor.architecture.name,
            "restores_faces": _restores_faces(descriptor),
        },
        scale=descriptor.scale,
        colour="RGB in 0..1",
    )
    return dict(tensors), info


def _restores_faces(descriptor: Any) -> bool:
    return bool(descriptor.purpose == "FaceSR")


def _load(tensors: Tensors, name: str) -> Any:
    """Spandrel's descriptor of a network from RGB to RGB that enlarges images or restores faces, or None."""
    state = {key: torch.from_numpy(np.array(value)) for key, value in tensors.items()}
    spandrel = import_spandrel()
    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    except spandrel.UnsupportedModelError:
        return None
    except (RuntimeError, KeyError, ValueError, IndexError, AssertionError, TypeError) as error:
        raise WeightsError(f"{name}: its tensors do not fit their architecture ({error})") from error
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise WeightsError(f"{name}: a {descriptor.architecture.name}, which does not take one image alone")
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3) or not (descriptor.scale > 1 or _restores_faces(descriptor)):
        raise WeightsError(
            f"{name}: a {descriptor.architecture.name} of scale {descriptor.scale} with {channels[0]} input "
            f"and {channels[1]} output channels; needed is a network of scale 2 or more, or a face "
            "restorer, from RGB to RGB"
        )
    return descriptor.float().eval()


class SpandrelResolver:
    """A loaded network of spandrel.

    Args:
        path: facepipe's own weights of architecture 'spandrel', or a file of another program.
        restores_faces: whether it is a face restorer.
        device: a torch device.

    Raises:
        WeightsError: the file is no longer usable, or spandrel is not installed.
        UsageError: the device does not exist.
    """

    def __init__(self, path: Path, restores_faces: bool, device: str = "cpu") -> None:
        self._arguments = path, restores_faces, device
        self._restores_faces = restores_faces
        self._device = open_device(device)
        found = _load(load_tensors(path), str(path)) if is_weights(path) else find_network(path, [_load])
        if found is None:
            raise WeightsError(f"{path}: spandrel knows no architecture with these tensors")
        self._descriptor = found.to(self._device)

    def __reduce__(self) -> tuple[type[SpandrelResolver], tuple[Path, bool, str]]:
        """Pickle as the file to load: processes load their own weights."""
        return SpandrelResolver, self._arguments

    def __call__(self, lowres: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Restore uint8 RGB (N, h, h, 3) to uint8 RGB (N, 128, 128, 3)."""
        restored = np.empty((len(lowres), NETWORK_PX, NETWORK_PX, 3), np.uint8)
        for image, target in zip(lowres, restored, strict=True):
            target[:] = self._restore(image)
        return restored

    def _restore(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._restores_faces:
            side = (FACE_RESTORER_PX, FACE_RESTORER_PX)
            image = np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_CUBIC), np.uint8)
        pixels = image.transpose(2, 0, 1)[None].astype(np.float32) / 255
        while True:
            # One image at a time: that is all that spandrel promises to handle.
            pixels = run_batched(self._descriptor, pixels, self._device, batch=1)
            if pixels.shape[-1] >= NETWORK_PX:
                break
        grey_levels = pixels[0].transpose(1, 2, 0) * 255
        if grey_levels.shape[0] > NETWORK_PX:
            grey_levels = cv2.resize(grey_levels, (NETWORK_PX, NETWORK_PX), interpolation=cv2.INTER_AREA)
        return np.rint(grey_levels).clip(0, 255).astype(np.uint8)
