"""Bicubic interpolation, then unsharp masking."""

import cv2
import numpy as np


class Unsharp:
    licence = "MIT"
    low_px = None  # every size below 128
    colour_order = "rgb"
    deterministic = True

    def build(self, low_px, device):
        return lambda lowres: np.stack([sharpened(image) for image in lowres])


def sharpened(image):
    large = cv2.resize(image, (128, 128), interpolation=cv2.INTER_CUBIC)
    return cv2.addWeighted(large, 1.5, cv2.GaussianBlur(large, (0, 0), 2.0), -0.5, 0)
