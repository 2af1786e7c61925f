"""Make faces from seeds: picture, volume and landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.conventions import NETWORK_PX, VolumeGeometry
from facepipe.geometry.expressions import draw_expression
from facepipe.geometry.head import Head, load_head
from facepipe.geometry.head_attributes import Attributes, draw_attributes
from facepipe.geometry.morphable import SOURCE_PX, Pose, posed_px
from facepipe.geometry.voxelise import voxelise
from facepipe.lab.faces.appearance import draw_look
from facepipe.lab.faces.appearance_values import Look
from facepipe.lab.faces.background import background
from facepipe.lab.faces.camera import Camera, draw_camera, photograph
from facepipe.lab.faces.draw import draw
from facepipe.lab.faces.framing import draw_pose
from facepipe.lab.faces.scene import build_scene

OVERSAMPLING = 2
"""Pixels drawn per pixel of the picture, along each side."""

HAIR_LAYERS = 3
"""Shells of hair in pictures of network size."""


@dataclass(frozen=True, eq=False)
class Face:
    """Everything that a seed determines except pixels.

    Attributes:
        seed: where it came from.
        who: the kind of person.
        shape, expression: coefficients of the head; vertices_mm: the mesh that they give.
        pose: in a picture of 450 px; z = 0 is the centre of the face part's depth range.
        look, camera: appearance.
        background_seed: of what lies behind.
    """

    seed: int
    who: Attributes
    shape: NDArray[np.float32]
    expression: NDArray[np.float32]
    vertices_mm: NDArray[np.float32] = field(repr=False)
    pose: Pose
    look: Look
    camera: Camera
    background_seed: int

    @property
    def skin_tone(self) -> float:
        """0 the lightest to 1 the darkest."""
        return self.look.melanin


@dataclass(frozen=True, eq=False)
class Example:
    """What a network is trained on.

    Attributes:
        image: uint8 RGB (128, 128, 3).
        volume: uint8 (D, H, W), 0 or 255.
        landmarks: float32 (68, 3), reference pixels.
    """

    image: NDArray[np.uint8]
    volume: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def sample(seed: int, head: Head | None = None) -> Face:
    """Draw the face of a seed: always the same one."""
    head = head or load_head()
    rng = np.random.default_rng([20_600, seed])
    who = draw_attributes(rng)
    shape = head.draw_shape(who, rng)
    expression = head.expression(draw_expression(rng, sorted(head.unit_to_expression)))
    vertices = head.model.mesh(shape, expression)
    pose = draw_pose(rng, head.model, vertices)
    look = draw_look(rng, who)
    camera = draw_camera(rng)
    return Face(seed, who, shape, expression, vertices, pose, look, camera, int(rng.integers(2**31)))


def vertices_px(face: Face, size_px: int = SOURCE_PX) -> NDArray[np.float32]:
    """The posed mesh (V, 3) in the pixels of a picture of this size, z toward the camera."""
    return posed_px(face.vertices_mm, face.pose, size_px)


def render(face: Face, size_px: int = SOURCE_PX, head: Head | None = None) -> NDArray[np.uint8]:
    """The picture of a face, uint8 RGB (S, S, 3)."""
    head = head or load_head()
    drawn_px = size_px * OVERSAMPLING
    layers = _hair_layers(face.look, size_px)
    scene = build_scene(head, face.vertices_mm, face.pose, face.look, drawn_px, layers)
    drawing = draw(scene, face.look, drawn_px)
    light = cv2.resize(drawing.light, (size_px, size_px), interpolation=cv2.INTER_AREA)
    coverage = cv2.resize(drawing.coverage, (size_px, size_px), interpolation=cv2.INTER_AREA)[..., None]
    behind = background(np.random.default_rng(face.background_seed), size_px)
    exposure = face.look.exposure * target_level(face.look) / max(drawing.face_level, 1e-3)
    return photograph(light * np.float32(exposure) + behind * (1 - coverage), face.camera)


def example(
    face: Face, geometry: VolumeGeometry, head: Head | None = None, whole_head: bool = False
) -> Example:
    """Picture, volume and landmarks of a face at network size.

    Args:
        geometry: of the volume.
        whole_head: fill the whole head instead of the face part.
    """
    head = head or load_head()
    vertices = vertices_px(face, NETWORK_PX)
    solid = head.head_solid if whole_head else head.model.solid
    return Example(
        render(face, NETWORK_PX, head),
        voxelise(vertices, solid, geometry),
        vertices[head.model.landmarks],
    )


def _hair_layers(look: Look, size_px: int) -> int:
    """Enough shells that they are not seen one by one: about one for each two pixels of thickness."""
    if size_px <= NETWORK_PX:
        return HAIR_LAYERS
    thickness_px = look.hair_thickness_mm * (1 + look.hair_top) * 1.4 * size_px / SOURCE_PX
    return int(np.clip(np.ceil(thickness_px / 1.7) + 1, HAIR_LAYERS, 9))


def target_level(look: Look) -> float:
    """How bright the middle of the face becomes: dark skin is exposed brighter than it is, not as pale."""
    return 0.42 * float(np.exp(-1.25 * look.melanin))
