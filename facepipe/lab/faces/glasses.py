"""Glasses as a mesh: rims, bridge and temples as tubes, lenses as flat fans, with a fixed topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facepipe.lab.faces.appearance_values import Look

RIM_STEPS = 28
SIDES = 4
TEMPLE_STEPS = 3
BRIDGE_STEPS = 4


@dataclass(frozen=True, eq=False)
class Glasses:
    """Points (P, 3) in the model's frame (mm), with the triangles of frame and lenses among them."""

    points: NDArray[np.float32]
    frame: NDArray[np.int32]
    lenses: NDArray[np.int32]


def glasses(look: Look, eyes: NDArray[np.float32], landmarks: NDArray[np.float32]) -> Glasses:
    """Put glasses on a face.

    Args:
        eyes: (2, 3), centres of the left and the right eyeball, mm.
        landmarks: (68, 3), mm.
    """
    middle = eyes.mean(0)
    reach = abs(float(eyes[0, 0] - eyes[1, 0])) / 2
    half_width = min(look.lens_width_mm, reach - 7.0)
    front = max(float(eyes[:, 2].max()) + 19.0, float(landmarks[27, 2]) + 1.5)
    angle = np.linspace(0, 2 * np.pi, RIM_STEPS, endpoint=False)
    power = 2.0 / look.lens_power
    across = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power * half_width
    upward = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power * look.lens_height_mm
    points, frame, lenses = [], [], []
    count = 0
    hinges = []

    def put(path: NDArray[np.floating], closed: bool) -> None:
        nonlocal count
        tube, faces = _tube(np.asarray(path, np.float64), look.frame_radius_mm, closed)
        points.append(tube)
        frame.append(faces + count)
        count += len(tube)

    for side in (1.0, -1.0):
        x = middle[0] + side * (reach + 2.0) + across
        rim = np.stack([x, middle[1] - 3.0 + upward, front - 0.0022 * (x - middle[0]) ** 2], 1)
        put(rim, closed=True)
        fan = np.concatenate([rim, rim.mean(0, keepdims=True)])
        step = np.arange(RIM_STEPS)
        lenses.append(np.stack([step, (step + 1) % RIM_STEPS, np.full(RIM_STEPS, RIM_STEPS)], 1) + count)
        points.append(fan)
        count += len(fan)
        hinges.append(rim[int(np.argmax(side * rim[:, 0]))] + [0, look.lens_height_mm * 0.3, 0])
        inner = rim[int(np.argmin(side * rim[:, 0]))]
        ear = landmarks[16 if side > 0 else 0]
        hook = np.array([ear[0] + side * 4.0, ear[1] + 12.0, ear[2] - 14.0])
        temple = hinges[-1] + np.linspace(0, 1, TEMPLE_STEPS)[:, None] * (hook - hinges[-1])
        # Heads are widest halfway; the arm bends around them.
        temple[1:-1, 0] = side * np.maximum(side * temple[1:-1, 0], side * ear[0] + 3.5)
        put(temple, closed=False)
        share = np.linspace(0, 1, BRIDGE_STEPS)[:, None]
        centre = np.array([middle[0], middle[1] + 1.0, front + 1.0])
        put(inner + share * (centre - inner) + [0, 2.0, 0], closed=False)
    return Glasses(
        np.concatenate(points).astype(np.float32),
        np.concatenate(frame).astype(np.int32),
        np.concatenate(lenses).astype(np.int32),
    )


def _tube(
    path: NDArray[np.float64], radius: float, closed: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A tube with a square cross-section around a path (N, 3)."""
    count = len(path)
    ahead = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    helper = np.where(np.abs(ahead[:, 2:]) < 0.8, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(ahead, helper)
    first /= np.linalg.norm(first, axis=1, keepdims=True) + 1e-9
    second = np.cross(ahead, first)
    corners = [(first + second), (-first + second), (-first - second), (first - second)]
    points = np.stack([path + radius * corner * 0.7071 for corner in corners], 1).reshape(-1, 3)
    steps = count if closed else count - 1
    faces = []
    for i in range(steps):
        for j in range(SIDES):
            a, b = i * SIDES + j, i * SIDES + (j + 1) % SIDES
            c, d = ((i + 1) % count) * SIDES + j, ((i + 1) % count) * SIDES + (j + 1) % SIDES
            faces += [(a, b, c), (b, d, c)]
    return points, np.array(faces)
