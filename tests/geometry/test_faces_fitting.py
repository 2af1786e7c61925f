"""Fitting the head to landmarks."""

from __future__ import annotations

import numpy as np
import pytest

from facepipe.geometry.head import load_head
from facepipe.geometry.head_fit import fit_head
from facepipe.lab.faces.factory import sample, vertices_px
from facepipe.lab.faces.seeds import face_seed

REFERENCE_PX = 128


@pytest.mark.parametrize("index", range(4))
def test_the_head_that_landmarks_came_from_is_found_again(index: int) -> None:
    """At any turn, from its landmarks alone."""
    head = load_head()
    face = sample(face_seed("test", index), head)
    vertices = vertices_px(face, REFERENCE_PX)
    found = fit_head(vertices[head.model.landmarks])
    fitted = found.vertices_px
    off = np.linalg.norm(fitted - vertices, axis=1)
    part = np.unique(head.model.solid)
    assert fitted.dtype == np.float32
    assert fitted.shape == vertices.shape
    assert off[head.model.landmarks].max() < 1.0
    assert off[part].mean() < 1.2
    turned = found.pose.rotation() @ face.pose.rotation().T
    assert np.degrees(np.arccos((np.trace(turned) - 1) / 2)) < 4


def test_noise_of_landmarks_is_not_followed() -> None:
    """Points that are off by 1.5 px in each direction give a head whose points are off by less."""
    head = load_head()
    vertices = vertices_px(sample(face_seed("test", 0), head), REFERENCE_PX)
    landmarks = vertices[head.model.landmarks]
    noise = np.random.default_rng(0).normal(0, 1.5, landmarks.shape)
    off = fit_head(landmarks + noise).vertices_px[head.model.landmarks] - landmarks
    assert np.sqrt((off**2).mean()) < 0.8 * np.sqrt((noise**2).mean())
