"""The validation faces of a training: always the same ones, never trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.datasets.crops import crop_for
from facepipe.datasets.dataset import Sample
from facepipe.geometry.head import load_head
from facepipe.geometry.volume import front_depth
from facepipe.geometry.voxelise import voxelise
from facepipe.imaging.degrade import make_reference
from facepipe.lab.faces.factory import render, sample, vertices_px
from facepipe.lab.faces.seeds import face_seed
from facepipe.lab.vrn.augment import lower
from facepipe.metrics.geometry import front_surface_errors, volume_iou
from facepipe.models.vrn.preprocessing import OWN, Preprocessing
from facepipe.models.vrn.run_hourglass import to_input, to_occupancy


@dataclass(frozen=True, eq=False)
class ValidationFaces:
    """Pictures with their meshes.

    Attributes:
        images: uint8 RGB (N, 128, 128, 3).
        vertices: float32 (N, V, 3), reference pixels.
        solid: int32 (T, 3).
    """

    images: NDArray[np.uint8]
    vertices: NDArray[np.float32]
    solid: NDArray[np.int32]

    def beside(self, samples: Sequence[Sample]) -> ValidationFaces:
        """These faces, and annotated photographs: every other one cut around its face, the others whole."""
        images, vertices = list(self.images), list(self.vertices)
        for index, photo in enumerate(samples):
            crop = crop_for(photo, "full" if index % 2 else "landmarks")
            if photo.truth.vertices is not None:
                images.append(make_reference(crop.cut(photo.image)))
                vertices.append(crop.to_reference(photo.truth.vertices).astype(np.float32))
        return replace(self, images=np.stack(images), vertices=np.stack(vertices))

    def lowered(self) -> ValidationFaces:
        """The same faces, each at a low resolution drawn as in training, always the same one."""
        rngs = map(np.random.default_rng, range(len(self.images)))
        lowered = [lower(image, rng) for image, rng in zip(self.images, rngs, strict=True)]
        return replace(self, images=np.stack(lowered))


@dataclass(frozen=True)
class ValidationScore:
    """Means over validation faces.

    Attributes:
        iou: intersection over union of the volumes.
        depth_px: root mean square error of the front surface, reference pixels; NaN where no face has one.
    """

    iou: float
    depth_px: float


def make_validation_faces(count: int) -> ValidationFaces:
    """Make the first faces of the validation seeds."""
    head = load_head()
    faces = [sample(face_seed("validation", index), head) for index in range(count)]
    return ValidationFaces(
        np.stack([render(face, NETWORK_PX, head) for face in faces]),
        np.stack([vertices_px(face, NETWORK_PX) for face in faces]),
        head.model.solid,
    )


def validate(
    network: torch.nn.Module,
    faces: ValidationFaces,
    geometry: VolumeGeometry,
    device: torch.device,
    usage: Preprocessing = OWN,
) -> ValidationScore:
    """Score a network as it is, in evaluation mode, which it leaves as it was."""
    ious, depths = [], []
    for volume, truth in volumes_beside_truth(network, faces, geometry, device, usage):
        ious.append(volume_iou(volume, truth))
        depth_px, _ = front_surface_errors(front_depth(volume, geometry), front_depth(truth, geometry))
        if depth_px is not None:
            depths.append(depth_px)
    return ValidationScore(float(np.mean(ious)), float(np.mean(depths)) if depths else float("nan"))


def volumes_beside_truth(
    network: torch.nn.Module,
    faces: ValidationFaces,
    geometry: VolumeGeometry,
    device: torch.device,
    usage: Preprocessing = OWN,
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Regress faces in evaluation mode, beside their truth: uint8 (D, H, W) each.

    When all faces are through, the network's mode is what it was.
    """
    training = network.training
    network.eval()
    for image, vertices in zip(faces.images, faces.vertices, strict=True):
        with torch.inference_mode():
            logits = network(to_input(torch.from_numpy(image[None]).to(device), geometry.size, usage))[-1]
            volume = to_occupancy(logits.float(), geometry.size, usage)[0].cpu().numpy()
        yield volume, voxelise(vertices, faces.solid, geometry)
    network.train(training)
