"""Builds `facepipe/data/face_mesh/correspondence.npz`: where on the head the 468 points of the face mesh lie.

The network itself says: it looks at drawn faces, whose meshes are known, and each of its points belongs to
the place on the head that lies nearest to it in the picture, over all faces that look roughly at the camera.

    python -m facepipe.lab.photos.build_correspondence
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.path_option import PATH
from facepipe.core.progress import progress
from facepipe.detect import main_face, open_detector
from facepipe.geometry.head import load_head
from facepipe.lab.faces.factory import render, sample, vertices_px
from facepipe.lab.faces.seeds import synthesis_seed
from facepipe.lab.photos.face_mesh import POINTS, find_mesh
from facepipe.lab.photos.mesh_fit import CORRESPONDENCE_FILE

PICTURE_PX = 256
LARGEST_YAW_DEG = 40.0
FARTHEST = 0.12
"""Distance in sizes of the face from which on a point is simply wrong."""

TURNS = 5
NEAREST = 0.01


@click.command()
@click.option("--out", type=PATH, default=CORRESPONDENCE_FILE, show_default=True)
@click.option("--faces", default=340, show_default=True, help="Drawn faces that are looked at.")
@click.option("--seed", default=101, show_default=True)
def main(out: Path, faces: int, seed: int) -> None:
    """Find the correspondence and write it."""
    cv2.setNumThreads(1)
    with progress("faces", faces) as advance:
        truths, meshes = _look(faces, seed, advance)
    surface = load_head().model.surface
    near = _nearest_vertices(truths, meshes, np.unique(surface))
    found = [
        _nearest_place(truths[..., :2], meshes[:, point], surface[(surface == near[point]).any(axis=1)])
        for point in range(POINTS)
    ]
    corners, weights, noise = (np.array(column) for column in zip(*found, strict=True))
    np.savez_compressed(
        out,
        corners=corners.astype(np.uint16),
        weights=weights.astype(np.float32),
        noise=noise.astype(np.float32),
    )
    click.echo(f"{out}: {len(truths)} faces, mean distance {noise.mean():.4f} of the size of a face")


def _look(count: int, seed: int, advance) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # type: ignore[no-untyped-def]
    """True vertices (N, V, 3) and mesh points (N, 468, 2) of faces, in sizes of each face."""
    head, detect = load_head(), open_detector()
    truths, meshes = [], []
    for index in range(count):
        face = sample(synthesis_seed(seed, index), head)
        advance(1)
        if abs(math.degrees(face.pose.yaw_rad)) > LARGEST_YAW_DEG:
            continue
        picture = render(face, PICTURE_PX, head)
        found = main_face(detect(picture))
        if found is None:
            continue
        truth = vertices_px(face, PICTURE_PX).astype(np.float64)
        size = float(np.sqrt(np.prod(np.ptp(truth[head.model.landmarks, :2], axis=0))))
        truths.append(truth / size)
        meshes.append(find_mesh(picture, found).points[:, :2] / size)
    return np.array(truths), np.array(meshes)


def _nearest_vertices(
    truths: NDArray[np.float64], meshes: NDArray[np.float64], candidates: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The vertex nearest to each point (P,), by the mean of distances that count up to `FARTHEST`."""
    total = np.zeros((POINTS, len(candidates)))
    for truth, mesh in zip(truths, meshes, strict=True):
        away = np.linalg.norm(mesh[:, None] - truth[None, candidates, :2], axis=2)
        total += np.minimum(away, FARTHEST)
    return np.asarray(candidates[total.argmin(axis=1)], np.int32)


def _nearest_place(
    truths: NDArray[np.float64], points: NDArray[np.float64], triangles: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.float64], float]:
    """The place on some triangles that is nearest to a point: corners, barycentric weights, mean distance."""
    places = []
    for triangle in triangles:
        a, b, c = (truths[:, corner] for corner in triangle)
        sides, wanted = np.stack([b - a, c - a], axis=-1), points - a
        trust = np.ones(len(points))
        for _ in range(TURNS):  # the median rather than the mean: weights of 1 / distance
            normal = np.einsum("n,nki,nkj->ij", trust, sides, sides) + 1e-9 * np.eye(2)
            shares = np.clip(np.linalg.solve(normal, np.einsum("n,nki,nk->i", trust, sides, wanted)), 0, 1)
            shares /= max(1.0, shares.sum())
            away = np.linalg.norm(wanted - sides @ shares, axis=1)
            trust = 1 / np.maximum(away, NEAREST)
        places.append((float(away.mean()), triangle, np.array([1 - shares.sum(), *shares])))
    distance, corners, weights = min(places, key=lambda place: place[0])
    return corners, weights, distance


if __name__ == "__main__":
    main()
