"""The protocol of data sets: references to samples, and loading one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facepipe.core.truth import Topology, Truth, TruthKind
from facepipe.imaging.passed_over import PassedOver

__all__ = ["Dataset", "Sample", "SampleRef", "Topology", "Truth", "TruthKind", "TruthSource"]


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
        grey: whether the picture has no colours, None where unknown.
    """

    image: NDArray[np.uint8]
    sha256: str
    truth: Truth = field(default_factory=Truth)
    yaw_deg: float | None = None
    pitch_deg: float | None = None
    roll_deg: float | None = None
    skin_tone: float | None = None
    grey: bool | None = None


@dataclass(frozen=True)
class TruthSource:
    """Where the truth of a data set comes from: recorded with a run.

    Attributes:
        description: one line for a person, such as the model, the region and its number of vertices.
        fingerprint: a digest of everything beyond the samples' own files that determines the truth.
        notice: what would give more truth, or what is not read, or ''. Said once in a run.
        passed_over: files that are no samples, by reason. Said once in a run.
    """

    description: str
    fingerprint: str = ""
    notice: str = ""
    passed_over: tuple[PassedOver, ...] = ()


class Dataset(Protocol):
    """A folder of samples. Instances are small and pickle cleanly: workers open their own."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def kind(self) -> str:
        """One of the kinds of `facepipe.datasets.catalog`."""

    def refs(self) -> list[SampleRef]:
        """List the candidates in the order of their ids, without decoding.

        Raises:
            UsageError: the folder is missing or holds nothing of this kind.
        """

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one candidate.

        Args:
            ref: which.
            dense: also pose the dense mesh. Without, everything is checked all the same and the truth
                keeps its kind and landmarks, but `vertices` is None: for callers who need only the image.

        Raises:
            SampleError: it cannot be used; the reason code goes to the failures table.
        """

    def topology(self) -> Topology | None:
        """The shared triangles of the dense truth, or None where there is none."""

    def truth_source(self) -> TruthSource:
        """Where the truth comes from."""
