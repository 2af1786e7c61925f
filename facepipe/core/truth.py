"""Ground truth of the face in an image: landmarks and vertices of a dense mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

TruthKind = Literal["dense", "landmarks3d", "landmarks2d", "none"]


@dataclass(frozen=True)
class Truth:
    """What is known about the face in an image: in source coordinates, once cropped in reference ones.

    Attributes:
        kind: the best kind of truth there is.
        vertices: float32 (V, 3) of the posed dense mesh, z = 0 at the centre of the solid's depth
            range, or None. Its triangles are the data set's `topology`.
        landmarks: float32 (68, 3) or (68, 2), iBUG order, or None.
    """

    kind: TruthKind = "none"
    vertices: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Topology:
    """The triangles that all dense truth meshes of one data set share.

    Attributes:
        surface: int32 (T, 3), the visible skin: what a front surface is compared with.
        solid: int32 (T, 3), a closed (watertight) surface over the same vertices: what is filled.
        region: int32 (R,), the vertices over which NME is taken.
    """

    surface: NDArray[np.int32]
    solid: NDArray[np.int32]
    region: NDArray[np.int32]

    @property
    def n_vertices(self) -> int:
        """How many vertices the triangles refer to; a mesh may have no fewer."""
        return int(max(self.surface.max(), self.solid.max())) + 1
