"""Synthesized faces: 300W-LP's layout with the project's own head as exact truth."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from published import IMAGE_PX, write_synthesized

from facepipe.core.errors import UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.synthetic_marker import Marker, parse_marker
from facepipe.geometry.head import HEAD_NAME, load_head
from facepipe.geometry.morphable import Pose


def coefficients() -> tuple[np.ndarray, np.ndarray]:
    model = load_head().model
    rng = np.random.default_rng(0)
    return rng.normal(size=model.shape_basis.shape[1]), rng.uniform(0, 0.2, model.expression_basis.shape[1])


def test_the_truth_is_the_posed_head(tmp_path: Path) -> None:
    shape, expression = coefficients()
    variables = write_synthesized(tmp_path, shape, expression, HEAD_NAME, IMAGE_PX)
    dataset = pickle.loads(pickle.dumps(open_dataset(tmp_path)))
    assert dataset.kind == "synthetic"
    (ref,) = dataset.refs()
    sample = dataset.load(ref)
    model = load_head().model
    pose = Pose.from_parameters(variables["Pose_Para"])
    expected = pose.apply(model.mesh(shape, expression), IMAGE_PX)
    z = expected[np.unique(model.solid), 2]
    expected[:, 2] -= (z.min() + z.max()) / 2
    np.testing.assert_allclose(sample.truth.vertices, expected, atol=1e-4)
    np.testing.assert_array_equal(sample.truth.landmarks, sample.truth.vertices[model.landmarks])
    assert sample.skin_tone == 0.25
    assert sample.yaw_deg == pytest.approx(np.degrees(-0.5))
    assert dataset.topology().n_vertices <= len(sample.truth.vertices)
    assert len(dataset.truth_source().fingerprint) == 64
    assert dataset.truth_source().notice == ""


def test_the_marker_says_how_large_images_are(tmp_path: Path) -> None:
    write_synthesized(tmp_path, *coefficients(), HEAD_NAME, 300)
    dataset = open_dataset(tmp_path, "synthetic")
    assert dataset.load(dataset.refs()[0]).image.shape == (300, 300, 3)


def test_faces_of_another_head_are_refused(tmp_path: Path) -> None:
    write_synthesized(tmp_path, *coefficients(), "facepipe-head-0", IMAGE_PX)
    with pytest.raises(UsageError, match=f"this version of facepipe has '{HEAD_NAME}'"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"head": 1, "image_px": 450}', '{"head": "a", "image_px": -1}']
)
def test_a_damaged_marker_is_explained(tmp_path: Path, text: str) -> None:
    (tmp_path / "facepipe-faces.json").write_text(text)
    with pytest.raises(UsageError, match="synthesize them again"):
        open_dataset(tmp_path)


def test_the_marker_survives_its_file() -> None:
    marker = Marker("a", 450)
    assert parse_marker(marker.to_json(), "x") == marker
