"""The sample set that ships with the project: rendered faces with exact dense truth."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import SampleError, UsageError
from facepipe.datasets.dataset import Sample, SampleRef, Topology, Truth, TruthSource
from facepipe.geometry.head import HEAD_FILE, load_head
from facepipe.geometry.morphable import Pose
from facepipe.imaging.images import read_image

SAMPLE_DIR = Path(__file__).resolve().parent.parent / "data" / "sample"

TRUTH_FILE = "truth.npz"


@dataclass
class SampleDataset:
    """Rendered faces of 450 px: `face-NN.jpg` and one file with the parameters of all.

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
        model = load_head().model
        pose = Pose.from_parameters(self._truth["pose"][row])
        mesh = model.mesh(self._truth["shape"][row], self._truth["expression"][row])
        vertices = pose.apply(mesh, image.shape[0]).astype(np.float32)
        return Sample(
            image=image,
            sha256=sha256,
            truth=Truth("dense", vertices if dense else None, vertices[model.landmarks]),
            yaw_deg=math.degrees(pose.yaw_rad),
            pitch_deg=math.degrees(pose.pitch_rad),
            roll_deg=math.degrees(pose.roll_rad),
            skin_tone=float(self._truth["skin_tone"][row]),
        )

    def topology(self) -> Topology:
        """The triangles of the head that all faces were made from."""
        model = load_head().model
        return Topology(surface=model.surface, solid=model.solid, region=model.region)

    def truth_source(self) -> TruthSource:
        """The head that the faces were made from."""
        regions = len(load_head().model.region)
        digest = hashlib.sha256(HEAD_FILE.read_bytes() + (self.root / TRUTH_FILE).read_bytes()).hexdigest()
        return TruthSource(f"exact meshes of rendered faces, {regions} vertices in the region", digest)

    @cached_property
    def _truth(self) -> dict[str, NDArray]:
        path = self.root / TRUTH_FILE
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                return dict(stored)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UsageError(f"{path}: cannot be read ({error}); reinstall facepipe") from error
