"""Networks as methods: single weights, families of weights, and files named by path."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from facepipe.core.conventions import NETWORK_PX
from facepipe.core.errors import UsageError, WeightsError
from facepipe.models.superres.architectures import ARCHITECTURES, SPANDREL
from facepipe.models.superres.base import Method, SuperResolver
from facepipe.models.weights import WeightsFile, is_weights, open_weights

# Raised when the way from weights to images changes, so that old runs are not mixed with new ones.
_REVISION = 1
SPANDREL_REVISION = 1
"""The same for networks that spandrel builds, imported ones and files."""


def spandrel_fits(low_px: int) -> bool:
    """Whether a network of spandrel's fits: it does at any size below that of the network."""
    return 1 <= low_px < NETWORK_PX


@dataclass(frozen=True)
class WeightsMethod:
    """One weights file as a method.

    Attributes:
        name: the method's name.
        file: its weights.
    """

    name: str
    file: WeightsFile

    def __post_init__(self) -> None:
        """Refuse weights that no code here can run."""
        info = self.file.info
        known = [*(architecture.name for architecture in ARCHITECTURES), SPANDREL]
        if info.kind != "superres" or info.architecture not in known or info.scale is None:
            raise WeightsError(
                f"{self.file.path}: kind {info.kind!r}, architecture {info.architecture!r}, scale "
                f"{info.scale}: expected a super-resolver of {', '.join(known)} with a scale"
            )

    def fits(self, low_px: int) -> bool:
        """Only the size that its scale brings to network size; one of spandrel's any size below that."""
        return spandrel_fits(low_px) if self._by_spandrel else self.fits_exactly(low_px)

    def fits_exactly(self, low_px: int) -> bool:
        """Whether one run brings the size to network size."""
        return low_px * (self.file.info.scale or 0) == NETWORK_PX

    @property
    def _by_spandrel(self) -> bool:
        return self.file.info.architecture == SPANDREL

    def fingerprint(self, low_px: int) -> str:  # noqa: ARG002
        """A digest of the weights and the way they are used."""
        revision = SPANDREL_REVISION if self._by_spandrel else _REVISION
        parts = [self.file.info.architecture, revision, self.file.identity]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Return the loaded network, the same object for the same weights and device in one process.

        Raises:
            WeightsError: the file is damaged or does not fit its architecture, or spandrel builds it and is
                not installed.
            UsageError: it does not fit the size, or the device does not exist.
        """
        if self._by_spandrel and not self.fits(low_px):
            raise UsageError(
                f"method {self.name!r} enlarges to {NETWORK_PX} px, and {low_px} px is not below it"
            )
        if not self.fits(low_px):
            raise UsageError(
                f"method {self.name!r} enlarges x{self.file.info.scale}: it does not bring {low_px} px "
                f"to {NETWORK_PX}"
            )
        return _built(self.fingerprint(low_px), self.file, device)


@functools.lru_cache(maxsize=16)
def _built(fingerprint: str, file: WeightsFile, device: str) -> SuperResolver:  # noqa: ARG001
    from facepipe.models.superres.build import build_resolver

    return build_resolver(file, device)


@dataclass(frozen=True)
class WeightsFamily:
    """Weights of one network for several scales, of which the one that fits is used.

    Where several do, the one that needs a single run, else the first.

    Attributes:
        name: the family's name.
        members: its weights as methods.
    """

    name: str
    members: tuple[WeightsMethod, ...]

    def fits(self, low_px: int) -> bool:
        """Whether a member fits."""
        return any(member.fits(low_px) for member in self.members)

    def fingerprint(self, low_px: int) -> str:
        """The fingerprint of the member for this size."""
        return self._member(low_px).fingerprint(low_px)

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Build the member for this size.

        Raises:
            WeightsError: its file is damaged or does not fit its architecture.
            UsageError: no member fits the size, or the device does not exist.
        """
        return self._member(low_px).build(low_px, device)

    def _member(self, low_px: int) -> WeightsMethod:
        fitting = [member for member in self.members if member.fits(low_px)]
        if fitting:
            return next((member for member in fitting if member.fits_exactly(low_px)), fitting[0])
        below = [px for px in range(1, NETWORK_PX) if self.fits(px)]
        sizes = f"all below {NETWORK_PX}" if len(below) == NETWORK_PX - 1 else ", ".join(map(str, below))
        raise UsageError(f"method {self.name!r} does not fit {low_px} px; it fits {sizes}")


@dataclass(frozen=True)
class FilePathMethod:
    """A weights file named by its path: facepipe's own, or any that spandrel recognises.

    Attributes:
        name: 'file:' and the path.
        path: the file.
    """

    name: str
    path: Path

    def __post_init__(self) -> None:
        """Refuse a file that is not there."""
        if not self.path.is_file():
            raise UsageError(f"method {self.name!r}: {self.path} is no file")

    def fits(self, low_px: int) -> bool:
        """Own weights fit the size of their scale, those of spandrel every size that they can enlarge."""
        return self._opened().fits(low_px)

    def fingerprint(self, low_px: int) -> str:
        """A digest of the file and the way it is used."""
        return self._opened().fingerprint(low_px)

    def build(self, low_px: int, device: str = "cpu") -> SuperResolver:
        """Return the loaded network.

        Raises:
            WeightsError: the file is damaged, unsafe or of an unknown architecture.
            UsageError: it does not fit the size, or the device does not exist.
        """
        return self._opened().build(low_px, device)

    def _opened(self) -> Method:
        if is_weights(self.path):
            return WeightsMethod(self.name, open_weights(self.path))
        from facepipe.models.superres.spandrel import open_spandrel_file

        return open_spandrel_file(self.name, self.path)
