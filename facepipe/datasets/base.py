"""What a data set is to the rest of facepipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.truth import Topology, Truth, TruthKind

__all__ = ["Dataset", "Sample", "SampleRef", "Topology", "Truth", "TruthKind"]


@dataclass(frozen=True)
class SampleRef:
    """One candidate image, found by listing and not yet decoded.

    Attributes:
        sample_id: path below the root without extension, '/' as separator.
        subset: the part of the data set it belongs to, or ''.
        source_path: path of the image below the root, '/' as separator.
        size_bytes: size of the image file.
    """

    sample_id: str
    subset: str
    source_path: str
    size_bytes: int


@dataclass(frozen=True)
class Sample:
    """A decoded sample.

    Attributes:
        image: uint8 RGB (H, W, 3), upright.
        sha256: hex digest of the image file's bytes.
        yaw_deg, pitch_deg, roll_deg: head pose in the 300W-LP convention, None where unknown.
        skin_tone: 0 (lightest) to 1 (darkest), None where unknown.
    """

    image: NDArray[np.uint8]
    sha256: str
    truth: Truth = field(default_factory=Truth)
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    skin_tone: float | None = None


class Dataset(Protocol):
    """A folder of samples. Instances are small and pickle cleanly: workers open their own."""

    name: str
    kind: str

    def refs(self) -> list[SampleRef]:
        """List the candidates in the order of their ids, without decoding.

        Raises:
            UsageError: the folder is missing or holds nothing of this kind.
        """

    def load(self, ref: SampleRef) -> Sample:
        """Decode one candidate.

        Raises:
            SampleError: it cannot be used; the reason code goes to the failures table.
        """

    def topology(self) -> Topology | None:
        """The shared triangles of the dense truth, or None where there is none."""
