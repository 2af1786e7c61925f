"""Gradient magnitude similarity deviation (Xue et al. 2014) of grey images, 0 for equal ones."""

import cv2
import numpy as np

from facepipe import Metric


class Gmsd:
    description = Metric(
        "gmsd", "GMSD", "", 0.0, 1.0, False, "reference image",
        "standard deviation of the similarity of Prewitt gradients, c = 170", "Xue et al., TIP 2014",
    )  # fmt: skip
    licence = "MIT"
    deterministic = True

    def build(self, device):
        return lambda inputs: similarity(inputs.reference, inputs.restored).std()


def similarity(a, b, c=170.0):
    a, b = (gradient(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)) for image in (a, b))
    return (2 * a * b + c) / (a * a + b * b + c)


def gradient(grey):
    across = np.tile(np.float32([1, 0, -1]) / 3, (3, 1))
    return np.hypot(cv2.filter2D(grey, -1, across), cv2.filter2D(grey, -1, across.T))
