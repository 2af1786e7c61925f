"""Closed test surfaces."""

from __future__ import annotations

import numpy as np
import trimesh

from facepipe.metrics.surface import Surface


def bumpy(seed: int = 0, radius: float = 20.0) -> trimesh.Trimesh:
    """A closed surface without symmetry, so that only one rigid motion brings it onto itself."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=1.0)
    waves = np.random.default_rng(seed).normal(size=(4, 3)) * 2
    factor = radius * (1 + 0.12 * np.sin(mesh.vertices @ waves.T + np.arange(4)).sum(axis=1))
    mesh.vertices = mesh.vertices * factor[:, None]
    return mesh


def surface_of(mesh: trimesh.Trimesh) -> Surface:
    # trimesh counts corners in a right-handed frame; ours has y down.
    return Surface(mesh.vertices, mesh.faces[:, ::-1])
