"""The average head in the middle of every picture: what a regressor has to be better than."""

import numpy as np

from facepipe import FaceMesh, VolumeGeometry
from facepipe.geometry.head import load_head


class AverageFace:
    licence = "MIT"
    colour_order = "rgb"
    deterministic = True
    output = "mesh"
    geometry = VolumeGeometry(128, 200, (1 / 3, 1.0, 1.0), 100.0)

    def build(self, device):
        head = load_head().model
        upright_px = head.mean * np.array([0.5, -0.5, 0.5]) + [64, 64, 0]
        face = FaceMesh(upright_px, head.solid)
        return lambda images: [face] * len(images)
