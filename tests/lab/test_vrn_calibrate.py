"""Moving a network's surface to where it agrees best with true volumes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.vrn.calibrate import best_limit, calibrate, iou_curve, shift_to_half
from facepipe.lab.vrn.validation import make_validation_faces, validate
from facepipe.metrics.geometry import volume_iou
from facepipe.models.vrn.hourglass import StackedNetwork

GEOMETRY = VolumeGeometry()


def test_the_curve_by_hand_and_by_the_metric() -> None:
    """Values 10, 100, 200 inside and 0, 90, 220 outside."""
    volume = np.array([10, 100, 200, 0, 90, 220], np.uint8)
    truth = np.array([255, 255, 255, 0, 0, 0], np.uint8)
    curve = iou_curve(volume, truth)
    for limit, expected in {
        0: 3 / 6,
        10: 3 / 5,
        11: 2 / 5,
        91: 2 / 4,
        100: 2 / 4,
        101: 1 / 4,
        221: 0,
    }.items():
        assert curve[limit] == pytest.approx(expected)
    rng = np.random.default_rng(0)
    noise, solid = rng.integers(0, 256, (4, 8, 8), np.uint8), rng.integers(0, 2, (4, 8, 8), np.uint8) * 255
    assert iou_curve(noise, solid)[128] == pytest.approx(volume_iou(noise, solid))
    assert best_limit(curve) == 6  # 1 to 10 are equal, and best but for 0


def test_the_shift_moves_the_limit_to_one_half() -> None:
    assert shift_to_half(128) == 0
    for limit in (1, 64, 112, 200, 254):
        p = (limit - 0.5) / 255
        assert torch.sigmoid(torch.logit(torch.tensor(p)) + shift_to_half(limit)) == pytest.approx(
            0.5, abs=1e-5
        )


class _Knowing(StackedNetwork):
    """Gives p = 0.27 inside of one face's truth and 0.05 outside."""

    def __init__(self, truth: np.ndarray) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Module()])
        self.stages[0].predict = nn.Conv2d(1, GEOMETRY.depth, 1)
        nn.init.zeros_(self.stages[0].predict.bias)
        self.last_prediction = self.stages[0].predict
        self.logits = torch.where(torch.from_numpy(truth > 0), -1.0, -3.0)[None]

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [self.logits + self.stages[0].predict.bias[:, None, None] + 0 * image.sum()]


def test_a_timid_network_becomes_right() -> None:
    faces = make_validation_faces(1)
    network = _Knowing(voxelise(faces.vertices[0], faces.solid, GEOMETRY)).train()
    device = torch.device("cpu")
    assert validate(network, faces, GEOMETRY, device).iou == 0
    shift = calibrate(network, faces, GEOMETRY, device)
    assert 1 < shift < 3
    assert network.training
    assert validate(network, faces, GEOMETRY, device).iou == 1
    assert abs(calibrate(network, faces, GEOMETRY, device)) < shift / 4
