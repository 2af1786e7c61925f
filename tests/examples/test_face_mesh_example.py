"""The face mesh as a regressor and as a metric: faces that ship have a known shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facepipe.core.plugins import load_plugin
from facepipe.core.truth import Truth
from facepipe.datasets.sample import SampleDataset
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.crop import full_crop
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.metrics.geometry import front_surface_errors
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import open_metric_plugin
from facepipe.models.superres.methods import get_method
from facepipe.models.vrn.regressors import get_regressor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def face(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, Truth]:
    monkeypatch.syspath_prepend(EXAMPLES)
    load_plugin.cache_clear()
    dataset = SampleDataset()
    sample = dataset.load(dataset.refs()[0])
    crop = full_crop(*sample.image.shape[1::-1])
    return sample.image, Truth("dense", crop.to_reference(sample.truth.vertices))


def test_the_fitted_head_is_near_the_truth(face: tuple[np.ndarray, Truth]):
    image, truth = face
    regressor = get_regressor("face_mesh:FittedHead")
    volumes = regressor.build()(np.stack([make_reference(image), np.zeros((128, 128, 3), np.uint8)]))
    assert not volumes[1].any()
    true = voxelise(truth.vertices, SampleDataset().topology().solid, regressor.geometry)
    depths = (front_depth(volume, regressor.geometry) for volume in (volumes[0], true))
    rmse_px, coverage = front_surface_errors(*depths)
    assert rmse_px < 6 and coverage > 0.8


def test_landmarks_move_with_what_is_lost(face: tuple[np.ndarray, Truth]):
    reference = make_reference(face[0])
    measure = open_metric_plugin("face_mesh:LandmarkError").build()
    small = [degrade(face[0], "area", px, 0, "") for px in (64, 32)]
    restored = [get_method("bicubic").build(len(one))(one[None])[0] for one in small]
    values = [measure(MetricInputs(reference, image)) for image in (reference, *restored)]
    assert values[0] == 0 < values[1] < values[2] < 0.5
    assert measure(MetricInputs(reference, np.zeros_like(reference))) is None
