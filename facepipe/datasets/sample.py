"""The sample set that ships with the project: rendered faces with exact dense truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.datasets.base import Sample, SampleRef, Topology, Truth, TruthSource
from facepipe.errors import SampleError, UsageError
from facepipe.images import read_image

SAMPLE_DIR = Path(__file__).resolve().parent.parent / "data" / "sample"

TRUTH_FILE = "truth.npz"

STEPS_PER_PX = 64
"""Stored vertices are integers: source pixels times this."""


@dataclass
class SampleDataset:
    """Rendered faces of 450 px: `face-NN.jpg` and one file with the truth of all.

    Attributes:
        root: the folder that holds them.
    """

    root: Path = SAMPLE_DIR
    name: str = field(default="sample", init=False)
    kind: str = field(default="sample", init=False)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "_truth"}

    def refs(self) -> list[SampleRef]:
        """List the faces in the order of their ids."""
        paths = sorted(self.root.glob("face-*.jpg"))
        if not paths:
            raise UsageError(f"{self.root}: the sample set is not there; reinstall facepipe")
        return [SampleRef(path.stem, "", path.name, path.stat().st_size) for path in paths]

    def load(self, ref: SampleRef, dense: bool = True) -> Sample:
        """Decode one face with its truth."""
        image, sha256 = read_image(self.root / ref.source_path)
        rows = np.flatnonzero(self._truth["sample_id"] == ref.sample_id)
        if len(rows) != 1:
            raise SampleError("missing-truth", f"{self.root / TRUTH_FILE}: no entry {ref.sample_id!r}")
        row = int(rows[0])
        vertices = self._truth["vertices"][row].astype(np.float32) / STEPS_PER_PX
        pitch, yaw, roll = (float(angle) for angle in self._truth["pose_deg"][row])
        return Sample(
            image=image,
            sha256=sha256,
            truth=Truth("dense", vertices if dense else None, vertices[self._truth["landmarks"]]),
            yaw_deg=yaw,
            pitch_deg=pitch,
            roll_deg=roll,
            skin_tone=float(self._truth["skin_tone"][row]),
        )

    def topology(self) -> Topology:
        """The triangles of all truth meshes."""
        return Topology(
            surface=self._truth["surface"], solid=self._truth["solid"], region=self._truth["region"]
        )

    def truth_source(self) -> TruthSource:
        """The meshes that the faces were rendered from."""
        return TruthSource(f"exact meshes of rendered faces, {len(self.topology().region)} region vertices")

    @cached_property
    def _truth(self) -> dict[str, NDArray]:
        path = self.root / TRUTH_FILE
        try:
            with np.load(path) as stored:
                return dict(stored)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be read ({error}); reinstall facepipe") from error
