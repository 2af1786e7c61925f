"""Calibrate a trained network: the occupancy at which its surface agrees best with true volumes.

Cross-entropy makes p the chance that a voxel is full. The volume of all voxels with p >= 0.5 is not the one
with the highest expected IoU, though: a voxel that is full with a chance a little below one half adds more to
the intersection than to the union (Lipton et al. 2014 show the same for F1). The best limit is found on
validation faces and moved to p = 0.5 by a shift of the logits, so that 'inside means p >= 0.5' stays true.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.conventions import VolumeGeometry
from facepipe.lab.vrn.validation import ValidationFaces, volumes_beside_truth
from facepipe.models.vrn.hourglass import StackedNetwork
from facepipe.models.vrn.preprocessing import OWN, Preprocessing
from facepipe.models.vrn.published import VrnNetwork


def calibrate(
    network: StackedNetwork | VrnNetwork,
    faces: ValidationFaces,
    geometry: VolumeGeometry,
    device: torch.device,
    usage: Preprocessing = OWN,
) -> float:
    """Shift the logits of a network's last stage so that its volumes agree best with validation faces.

    Args:
        network: on the device; its mode is left as it was.
        faces: where the truth is known.
        geometry: of the volumes.
        device: a torch device.
        usage: how the network is run.

    Returns:
        The shift, which is part of the network now.
    """
    pairs = volumes_beside_truth(network, faces, geometry, device, usage)
    curves = [iou_curve(volume, truth) for volume, truth in pairs]
    shift = shift_to_half(best_limit(np.mean(curves, axis=0)))
    bias = network.last_prediction.bias
    if bias is None:
        raise TypeError("the prediction of a stage has a bias in every network here")
    with torch.no_grad():
        bias += shift
    return shift


def iou_curve(volume: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """IoU with the truth (> 0 inside) of all voxels of at least 0, 1, ... 255: shape (256,)."""
    inside = np.bincount(volume[truth > 0], minlength=256)
    outside = np.bincount(volume[truth == 0], minlength=256)
    both, only = (np.cumsum(counts[::-1])[::-1] for counts in (inside, outside))
    return np.asarray(both / np.maximum(inside.sum() + only, 1), np.float64)


def best_limit(curve: NDArray[np.float64]) -> int:
    """The value from 1 to 254 at which a curve is highest; the middle one of several."""
    allowed = curve[1:255]
    highest = np.flatnonzero(allowed >= allowed.max() - 1e-12)
    return int(highest[len(highest) // 2]) + 1


def shift_to_half(limit: int) -> float:
    """What to add to a logit so that uint8 values from ``limit`` on become those from 128 on.

    A value k stands for p >= (k - 0.5) / 255, 128 for p >= 0.5.
    """
    p = (limit - 0.5) / 255
    return -math.log(p / (1 - p))
