"""MediaPipe's face mesh: 468 points of a face in a photograph, each with a depth.

The network (Kartynnik et al., 'Real-time facial surface geometry from monocular video on mobile GPUs', 2019;
Apache-2.0) ships as it was published and is run by OpenVINO; the square that it reads is placed here, upright
and half as wide again as the points' box, as in MediaPipe's own graph.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from facepipe.core.errors import WeightsError
from facepipe.detect.detection import Detection

MESH_FILE = Path(__file__).resolve().parents[2] / "data" / "face_mesh" / "face_landmark.tflite"

POINTS = 468
INPUT_PX = 192
"""Side of the square that the network reads."""

SQUARE_PER_BOX = 1.5
"""Side of that square over the longer side of the points' box."""

PASSES = 3
"""How often the network looks: the first square comes from a detection, each further one from the points."""

OUTER_EYES = (33, 263)
"""The points at the outer corners of the subject's right and left eye."""

IBUG_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)  # fmt: skip
"""The points that are nearest to the 68 landmarks of iBUG, in their order."""


@dataclass(frozen=True, eq=False)
class FaceMesh:
    """What the network says of a face.

    Attributes:
        points: float64 (468, 3), continuous source pixels, z toward the camera about an arbitrary zero.
        score: 0 to 1, how sure it is that there is a face.
    """

    points: NDArray[np.float64]
    score: float


@dataclass(frozen=True)
class _Square:
    """A turned square of the picture.

    Attributes:
        centre: (x, y), source pixels.
        side: source pixels.
        angle_rad: of its upper edge, positive from x (right) to y (down).
    """

    centre: tuple[float, float]
    side: float
    angle_rad: float

    def linear(self) -> NDArray[np.float64]:
        """(2, 2), from the network's pixels to source pixels."""
        step = self.side / INPUT_PX
        cos, sin = step * math.cos(self.angle_rad), step * math.sin(self.angle_rad)
        return np.array([[cos, -sin], [sin, cos]])

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The square as the network reads it, float32 (192, 192, 3), 0 to 1."""
        linear = self.linear()
        # OpenCV counts pixel centres at whole numbers.
        offset = np.asarray(self.centre) + linear @ (0.5 - INPUT_PX / 2, 0.5 - INPUT_PX / 2) - 0.5
        matrix = np.column_stack([linear, offset])
        # Reduced pictures are averaged first, else every other pixel would count for nothing.
        half = int(self.side // INPUT_PX)
        source = cv2.blur(image, (half, half)) if half > 1 else image
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cut = cv2.warpAffine(source, matrix, (INPUT_PX, INPUT_PX), flags=flags)
        return np.asarray(cut / np.float32(255), np.float32)

    def points(self, raw: NDArray[np.floating]) -> NDArray[np.float64]:
        """Points (N, 3) of the network in source pixels, z toward the camera."""
        moved = np.empty(raw.shape, np.float64)
        moved[:, :2] = (raw[:, :2] - INPUT_PX / 2) @ self.linear().T + self.centre
        moved[:, 2] = -raw[:, 2] * self.side / INPUT_PX
        return moved


def find_mesh(image: NDArray[np.uint8], face: Detection) -> FaceMesh:
    """Find the points of a face.

    Args:
        image: uint8 RGB (H, W, 3).
        face: where it is.

    Raises:
        WeightsError: the network is missing or damaged.
    """
    right, left = face.points[0], face.points[1]
    angle = math.atan2(left[1] - right[1], left[0] - right[0])
    centre = ((face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2)
    square = _Square(centre, SQUARE_PER_BOX * max(face.width_px, face.height_px), angle)
    for _ in range(PASSES):
        raw, score = _run(square.cut(image))
        points = square.points(raw)
        square = _around(points)
    return FaceMesh(points, score)


def _around(points: NDArray[np.float64]) -> _Square:
    """The upright square around points (N, 3)."""
    right, left = points[OUTER_EYES[0]], points[OUTER_EYES[1]]
    angle = math.atan2(left[1] - right[1], left[0] - right[0])
    cos, sin = math.cos(angle), math.sin(angle)
    upright = points[:, :2] @ np.array([[cos, -sin], [sin, cos]])
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    return _Square((float(x), float(y)), SQUARE_PER_BOX * float((high - low).max()), angle)


def _run(square: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    network = _network(MESH_FILE)
    outputs = list(network({0: square[None]}).values())
    points, logit = sorted(outputs, key=np.size, reverse=True)
    return points.reshape(POINTS, 3).astype(np.float64), 1 / (1 + math.exp(-float(logit.ravel()[0])))


@lru_cache(maxsize=1)
def _network(path: Path):  # type: ignore[no-untyped-def]  # OpenVINO's types are incomplete
    import openvino

    try:
        core = openvino.Core()
        # Float32 and one thread: the points of a photograph are the same on every machine.
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        return core.compile_model(core.read_model(path), "CPU", settings)
    except RuntimeError as error:
        raise WeightsError(f"{path}: the face mesh cannot be read ({error}); reinstall facepipe") from error
