"""The batched torch path against the CPU path."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.head import load_head
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.factory import example, sample
from facepipe.lab.faces.noise import noise
from facepipe.lab.faces.raster import rasterise
from facepipe.lab.faces.scene import build_scene

torch = pytest.importorskip("torch")

from facepipe.lab.faces.camera_torch import photograph_batch  # noqa: E402
from facepipe.lab.faces.factory_torch import TorchFactory  # noqa: E402
from facepipe.lab.faces.ops_torch import TorchOps  # noqa: E402
from facepipe.lab.faces.raster_torch import rasterise_batch  # noqa: E402
from facepipe.lab.faces.voxelise_torch import voxelise_batch  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GEOMETRY = VolumeGeometry()


def test_triangle_ids_agree():
    head = load_head()
    for seed in (1, 4):
        face = sample(seed)
        scene = build_scene(head, face.vertices_mm, face.pose, face.look, 256, 4)
        cpu = rasterise(scene.points, scene.triangles, 256)
        points = torch.from_numpy(scene.points)[None].to(DEVICE)
        gpu = rasterise_batch(points, torch.from_numpy(scene.triangles).long().to(DEVICE), 256)
        ids = gpu.triangle[0].cpu().numpy()
        assert (cpu.triangle >= 0).mean() > 0.2
        assert (ids == cpu.triangle).mean() >= 0.999
        same = ids == cpu.triangle
        assert np.allclose(gpu.weight_a[0].cpu().numpy()[same], cpu.weight_a[same], atol=1e-4)


def test_noise_agrees():
    points = np.random.default_rng(0).uniform(-40, 40, (3, 1000)).astype(np.float32)
    found = TorchOps(torch.device(DEVICE)).noise(torch.from_numpy(points).to(DEVICE)).cpu().numpy()
    assert np.allclose(found, noise(points), atol=1e-5)


def test_volumes_agree():
    head = load_head()
    geometries = (GEOMETRY, VolumeGeometry(size=192, spacing=(0.5, 1.0, 1.0)))
    for geometry in geometries:
        vertices = np.stack([example_vertices(seed) for seed in (3, 9)])
        solid = torch.from_numpy(head.model.solid).long().to(DEVICE)
        batch = voxelise_batch(torch.from_numpy(vertices).to(DEVICE), solid, geometry).cpu().numpy()
        for mesh, volume in zip(vertices, batch, strict=True):
            expected = voxelise(mesh, head.model.solid, geometry) > 0
            assert (volume != expected).sum() <= 1e-5 * expected.sum() + 1


def example_vertices(seed):
    from facepipe.lab.faces.factory import vertices_px

    return vertices_px(sample(seed), 128)


def test_batches_show_the_same_faces():
    """Same people, light and hair as on the CPU: close inside the face part."""
    clean = {
        "softness_px": 0.0,
        "detail": 1.0,
        "grain": 0.0,
        "jpeg_quality": 0,
        "borders": (0.0, 0.0, 0.0, 0.0),
    }
    faces = [sample(seed) for seed in (0, 5)]
    faces = [replace(face, camera=replace(face.camera, **clean)) for face in faces]
    batch = TorchFactory(DEVICE)(faces, GEOMETRY)
    assert batch.images.shape == (2, 3, 128, 128)
    assert batch.images.dtype == torch.uint8
    for i, face in enumerate(faces):
        made = example(face, GEOMETRY)
        image = batch.images[i].permute(1, 2, 0).cpu().numpy()
        inside = cv2.erode((made.volume > 0).any(0).astype(np.uint8), np.ones((5, 5))) > 0
        difference = np.abs(image.astype(float) - made.image)[inside]
        assert difference.mean() < 3
        assert (batch.volumes[i].cpu().numpy() != (made.volume > 0)).sum() <= 5
        assert np.allclose(batch.landmarks[i].cpu().numpy(), made.landmarks, atol=1e-3)


def test_a_face_does_not_depend_on_its_batch():
    faces = [sample(seed) for seed in (0, 5)]
    factory = TorchFactory(DEVICE)
    together, alone = factory(faces, GEOMETRY), factory(faces[1:], GEOMETRY)
    difference = together.images[1].int() - alone.images[0].int()
    assert difference.abs().max() <= 2


def test_jpeg_is_as_good_as_the_real_one():
    """The error that it makes is that of a real encoder at the same quality, within a fifth."""
    rng = np.random.default_rng(0)
    picture = cv2.GaussianBlur(rng.uniform(0, 255, (128, 128, 3)).astype(np.float32), (0, 0), 1.5)
    picture = np.clip((picture - 128) * 4 + 128, 0, 255).astype(np.uint8)
    camera = replace(sample(0).camera, gain=(1.0, 1.0, 1.0), shoulder=0.0, contrast=1.0, saturation=1.0)
    camera = replace(camera, softness_px=0.0, detail=1.0, grain=0.0, borders=(0.0, 0.0, 0.0, 0.0))
    light = torch.from_numpy((picture / 255.0) ** 2.2).float().permute(2, 0, 1)[None].to(DEVICE)
    for quality in (40, 85):
        made = (
            photograph_batch(light, [replace(camera, jpeg_quality=quality)])[0].permute(1, 2, 0).cpu().numpy()
        )
        coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        real = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
        errors = [np.sqrt(np.square(p.astype(float) - picture).mean()) for p in (made, real)]
        assert errors[0] == pytest.approx(errors[1], rel=0.2)
