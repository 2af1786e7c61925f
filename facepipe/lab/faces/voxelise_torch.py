"""Volumes for batches of meshes with one topology, on any torch device.

The same integer tests as `facepipe.geometry.voxelise`, hence the same volumes; closed meshes only.
"""

from __future__ import annotations

import torch

from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.voxelise import SUBPIXEL
from facepipe.lab.faces.raster_torch import candidates

Tensor = torch.Tensor


def voxelise_batch(vertices: Tensor, triangles: Tensor, geometry: VolumeGeometry) -> Tensor:
    """Fill closed meshes.

    Args:
        vertices: (B, V, 3), reference pixels; triangles: int64 (T, 3), closed.
        geometry: the grid.

    Returns:
        bool (B, D, H, W).
    """
    size, depth = geometry.size, geometry.depth
    spacing_z, spacing_y, spacing_x = geometry.spacing
    step = torch.tensor([spacing_x, spacing_y, spacing_z], dtype=torch.float64, device=vertices.device)
    grid = vertices.double() / (step * geometry.reference_px)
    batch, count = len(vertices), len(triangles)
    corners = grid[:, triangles].reshape(batch * count, 3, 3)
    fixed = torch.round(corners[..., :2] * SUBPIXEL).long()
    ax, ay, bx, by, cx, cy = fixed.reshape(-1, 6).unbind(1)
    az, bz, cz = (corners[..., 2] + geometry.z_zero).unbind(1)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    snapped = fixed.double() / SUBPIXEL
    which, column, row = candidates(snapped[..., 0], snapped[..., 1], area != 0, size)
    px, py = column * SUBPIXEL + SUBPIXEL // 2, row * SUBPIXEL + SUBPIXEL // 2
    ax, ay, az, bx, by, bz, cx, cy, cz, area = (t[which] for t in (ax, ay, az, bx, by, bz, cx, cy, cz, area))
    sign = torch.sign(area)
    inside = (
        (_side(ax, ay, bx, by, px, py) == sign)
        & (_side(bx, by, cx, cy, px, py) == sign)
        & (_side(cx, cy, ax, ay, px, py) == sign)
    )
    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)).double() / area
    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)).double() / area
    z = wa * az + wb * bz + (1.0 - wa - wb) * cz
    slices = torch.ceil(z[inside] - 0.5).clamp(0, depth).long()
    owner = torch.div(which[inside], count, rounding_mode="floor")
    at = ((owner * (depth + 1) + slices) * size + row[inside]) * size + column[inside]
    change = torch.zeros(batch * (depth + 1) * size * size, dtype=torch.int32, device=vertices.device)
    change.scatter_add_(0, at, sign[inside].int())
    winding = change.view(batch, depth + 1, size, size)[:, :depth].cumsum(1, dtype=torch.int32)
    return winding != 0


def _side(ax: Tensor, ay: Tensor, bx: Tensor, by: Tensor, px: Tensor, py: Tensor) -> Tensor:
    cross = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    cross = torch.where(cross == 0, ay - by, cross)
    cross = torch.where(cross == 0, bx - ax, cross)
    return torch.where(cross > 0, 1, -1)
