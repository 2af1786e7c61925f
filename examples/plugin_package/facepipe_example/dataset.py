"""A folder of pictures x.png with x.npy beside them: 68 landmarks (x, y) in pixels."""

import hashlib

import numpy as np

from facepipe import Sample, SampleRef, Truth, TruthSource
from facepipe.imaging.images import decode_image


class LandmarkFolder:
    licence = "MIT"  # of this reader
    kind = "landmark-folder"

    def __init__(self, root):
        self.root, self.name = root, root.name

    def refs(self):
        return [SampleRef(p.stem, "", p.name, p.stat().st_size) for p in self.root.glob("*.png")]

    def load(self, ref, dense=True):
        data = (self.root / ref.source_path).read_bytes()
        points = np.load(self.root / f"{ref.sample_id}.npy").astype(np.float32)
        image = decode_image(data, ref.source_path)
        return Sample(image, hashlib.sha256(data).hexdigest(), Truth("landmarks2d", None, points))

    def topology(self):
        return None

    def truth_source(self):
        return TruthSource("68 landmarks of each picture, in a .npy file")
