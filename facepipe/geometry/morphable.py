"""Morphable models: a mean mesh with a shape and an expression basis, and their pose in an image.

The same class serves Basel-type models and the project's own head. The model's frame has x to the image's
right, y up and z toward the camera for a face that looks straight into it; its unit is the model's own
(micrometres in the Basel model, millimetres in the project's head) and cancels with the pose's scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facepipe.core.errors import SampleError

SOURCE_PX = 450
"""Side of the pictures in whose pixels poses are given, as in 300W-LP."""

_PROFILE = 1e-7
"""Cosine of a yaw that counts as 90 degrees."""


@dataclass(frozen=True)
class Pose:
    """Weak perspective in the convention of 3DDFA and 300W-LP (`Pose_Para`).

    Attributes:
        pitch_rad, yaw_rad, roll_rad: positive pitch looks up, positive yaw turns the face to the image's
            left.
        translation_px: (tx, ty, tz) in MATLAB's frame: x right, y up, pixel 1 at the lower left.
        scale: pixels per unit of the model.
    """

    pitch_rad: float
    yaw_rad: float
    roll_rad: float
    translation_px: tuple[float, float, float]
    scale: float

    @classmethod
    def from_parameters(cls, pose_para: ArrayLike) -> Pose:
        """Read a `Pose_Para` row: pitch, yaw, roll (rad), tx, ty, tz, scale.

        Raises:
            SampleError: it does not hold seven finite numbers.
        """
        values = np.asarray(pose_para, np.float64).ravel()
        if values.shape != (7,) or not np.isfinite(values).all():
            raise SampleError("bad-pose", f"Pose_Para holds {values.tolist()}; expected seven finite numbers")
        pitch, yaw, roll, tx, ty, tz, scale = (float(value) for value in values)
        return cls(pitch, yaw, roll, (tx, ty, tz), scale)

    @classmethod
    def from_matrix(cls, matrix: NDArray[np.floating], image_height_px: float) -> Pose:
        """The pose whose `apply` does what a matrix does.

        Args:
            matrix: (4, 4), a similarity without mirroring from the model's frame to continuous image
                coordinates whose y points up from the image's upper edge (so that y in the image is its
                negative).
            image_height_px: of the image.
        """
        scale = float(np.cbrt(np.linalg.det(matrix[:3, :3])))
        rotation = matrix[:3, :3] / scale
        across = math.hypot(rotation[0, 0], rotation[0, 1])
        yaw = math.atan2(-rotation[0, 2], across)
        if across > _PROFILE:
            pitch = math.atan2(rotation[1, 2], rotation[2, 2])
            roll = math.atan2(rotation[0, 1], rotation[0, 0])
        else:  # pitch and roll turn about one axis: all of it is pitch
            pitch, roll = math.atan2(-rotation[2, 1], rotation[1, 1]), 0.0
        x, y, z = (float(value) for value in matrix[:3, 3])
        return cls(pitch, yaw, roll, (x + 0.5, y + image_height_px + 0.5, z), scale)

    def parameters(self) -> NDArray[np.float64]:
        """The `Pose_Para` row (7,) of this pose."""
        return np.array([self.pitch_rad, self.yaw_rad, self.roll_rad, *self.translation_px, self.scale])

    def rotation(self) -> NDArray[np.float64]:
        """R = Rx(pitch) Ry(yaw) Rz(roll), (3, 3), with 3DDFA's signs (each factor is the transpose of the
        usual right-handed rotation)."""
        (cx, sx), (cy, sy), (cz, sz) = (
            (math.cos(angle), math.sin(angle)) for angle in (self.pitch_rad, self.yaw_rad, self.roll_rad)
        )
        about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
        about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
        return np.asarray(about_x @ about_y @ about_z)

    def apply(self, vertices: NDArray[np.floating], image_height_px: float) -> NDArray[np.float64]:
        """Project model vertices (V, 3) to continuous image coordinates (x right, y down, z to the camera).

        V = scale * R * S + t gives MATLAB pixels with y up; its image row is height + 1 - Vy, and MATLAB's
        1-based pixel x is x - 0.5 here. Source: 3DDFA's and 300W-LP's published code.
        """
        posed = self.scale * np.asarray(vertices, np.float64) @ self.rotation().T + np.array(
            self.translation_px
        )
        return np.stack([posed[:, 0] - 0.5, image_height_px + 0.5 - posed[:, 1], posed[:, 2]], axis=1)


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """A linear face model with the parts that truth and metrics need.

    Attributes:
        name: which model this is; parameters are only meaningful with the model they were made for.
        mean: float32 (V, 3).
        shape_basis: float32 (3 V, K), rows x1 y1 z1 x2 ...; coefficients multiply its columns.
        expression_basis: float32 (3 V, E), likewise.
        surface: int32 (T, 3), the visible skin, counter-clockwise from outside in the model's frame.
        solid: int32 (S, 3), what is filled: watertight, or open behind (see `facepipe.geometry.voxelise`).
        region: int32 (R,), the vertices over which NME is taken.
        landmarks: int32 (68,), the vertices of the iBUG points.
    """

    name: str
    mean: NDArray[np.float32]
    shape_basis: NDArray[np.float32]
    expression_basis: NDArray[np.float32]
    surface: NDArray[np.int32]
    solid: NDArray[np.int32]
    region: NDArray[np.int32]
    landmarks: NDArray[np.int32]

    def mesh(self, shape: ArrayLike = (), expression: ArrayLike = ()) -> NDArray[np.float32]:
        """Vertices (V, 3) in the model's frame and unit; missing trailing coefficients are zero.

        Raises:
            SampleError: there are more coefficients than the model has, or one is not finite.
        """
        offset = self._offset("shape", self.shape_basis, shape)
        offset = offset + self._offset("expression", self.expression_basis, expression)
        return np.asarray(self.mean + offset.reshape(-1, 3), np.float32)

    def _offset(self, kind: str, basis: NDArray[np.float32], values: ArrayLike) -> NDArray[np.float32]:
        coefficients = np.asarray(values, np.float32).ravel()
        count = len(coefficients)
        if count > basis.shape[1]:
            raise SampleError(
                "wrong-parameters",
                f"{count} {kind} parameters, but the model {self.name!r} has {basis.shape[1]}: "
                "use the model that the parameters were made for",
            )
        if not np.isfinite(coefficients).all():
            raise SampleError("wrong-parameters", f"a {kind} parameter is not a finite number")
        return np.asarray(basis[:, :count] @ coefficients, np.float32)


def posed_px(points_mm: NDArray[np.float32], pose: Pose, size_px: int) -> NDArray[np.float32]:
    """Points of the head's frame (V, 3), posed for a picture of 450 px, in the pixels of one of this size."""
    return np.asarray(pose.apply(points_mm, SOURCE_PX) * (size_px / SOURCE_PX), np.float32)
