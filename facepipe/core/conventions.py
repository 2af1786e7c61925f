"""The array conventions of facepipe, stated once.

Images
    uint8, RGB, shape (H, W, 3); batches (N, H, W, 3).
Coordinates
    Continuous, in pixels: pixel (0, 0) covers [0, 1) x [0, 1) and its centre is (0.5, 0.5).
    x points right, y down, z toward the camera. MATLAB's 1-based pixel x is x - 0.5 here.
    *Source* coordinates count pixels of the image file. *Reference* coordinates count pixels of the
    crop at network size (128 px); truth meshes and all metrics in pixels use them.
Occupancy volumes
    uint8 = round(255 p), shape (D, H, W); batches (N, D, H, W). Column (y, x) lies under pixel
    (y, x) of the image resized to W x H; the index along D grows toward the camera. Slice k covers
    z in [(k - z_zero) * s, (k + 1 - z_zero) * s) with s = ``spacing[0]``. Inside means p >= 0.5.
Meshes
    vertices float (V, 3), triangles int (T, 3), counter-clockwise seen from outside in the
    right-handed frame (x, -y, z).
"""

from __future__ import annotations

from dataclasses import dataclass

NETWORK_PX = 128
"""Side of reference and restored images."""

VOLUME_DEPTH = 200
"""Number of slices of every occupancy volume."""

INSIDE_LEVEL = 128
"""Smallest uint8 value that is inside: round(255 * 0.5)."""


@dataclass(frozen=True)
class VolumeGeometry:
    """Where the voxels of a regressor's volume lie.

    Attributes:
        size: side of the volume in x and y, in pixels of its own grid.
        depth: number of slices.
        spacing: (z, y, x) size of a voxel, in pixels of its own grid.
        z_zero: the slice coordinate (continuous) at which z = 0, the centre of the truth's depth range.
    """

    size: int = NETWORK_PX
    depth: int = VOLUME_DEPTH
    spacing: tuple[float, float, float] = (1 / 3, 1.0, 1.0)
    z_zero: float = 100.0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (D, H, W) of one volume."""
        return (self.depth, self.size, self.size)

    @property
    def reference_px(self) -> float:
        """How many reference pixels one pixel of this grid is."""
        return NETWORK_PX / self.size

    @property
    def key(self) -> str:
        """A short name that two geometries share only if they are equal."""
        return f"{self.size}x{self.depth}-s{self.spacing[0]:.6g}-z{self.z_zero:g}"
