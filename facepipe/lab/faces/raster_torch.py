"""The z-buffer for batches, on any torch device; see `facepipe.lab.faces.raster`.

Every pixel centre in the bounding box of every triangle is tested at once. The nearest triangle wins by an
integer maximum over (depth, triangle), so that the result does not depend on the order of the threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from facepipe.lab.faces.raster import EDGE_TOLERANCE, NOTHING

Tensor = torch.Tensor

_INDEX_BITS = 20
_LOWEST = -(2**62)


@dataclass(frozen=True, eq=False)
class BatchFragments:
    """What the pixels of a batch of pictures see: all (B, S, S), as `facepipe.lab.faces.raster.Fragments`."""

    triangle: Tensor
    weight_a: Tensor
    weight_b: Tensor
    depth: Tensor


@dataclass(frozen=True, eq=False)
class Hits:
    """Pixels that see something.

    Attributes:
        pixel: (N,), flat index into (B, S, S).
        owner: (N,), which picture.
        triangle: (N,).
        channels: (C, N), interpolated.
    """

    pixel: Tensor
    owner: Tensor
    triangle: Tensor
    channels: Tensor


def candidates(x: Tensor, y: Tensor, valid: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """All (triangle, column, row) whose pixel centre lies in a triangle's bounding box.

    Args:
        x, y: (T, 3) corners; valid: (T,), triangles to consider.

    Returns:
        Three (M,): index of the triangle, column and row.
    """
    x0 = (x.amin(1) - 0.5).ceil().clamp(0, size).long()
    x1 = (x.amax(1) - 0.5).floor().clamp(-1, size - 1).long()
    y0 = (y.amin(1) - 0.5).ceil().clamp(0, size).long()
    y1 = (y.amax(1) - 0.5).floor().clamp(-1, size - 1).long()
    width, height = (x1 - x0 + 1).clamp(min=0), (y1 - y0 + 1).clamp(min=0)
    count = width * height * valid
    which = torch.repeat_interleave(torch.arange(len(count), device=x.device), count)
    step = torch.arange(len(which), device=x.device) - (torch.cumsum(count, 0) - count)[which]
    across = width[which]
    return which, x0[which] + step % across, y0[which] + torch.div(step, across, rounding_mode="floor")


def rasterise_batch(points: Tensor, triangles: Tensor, size: int) -> BatchFragments:
    """Find the nearest triangle at every pixel centre of every picture.

    Args:
        points: float32 (B, V, 3), pixels; triangles: int64 (T, 3), shared by the batch.
        size: side of the pictures.
    """
    batch, count = len(points), len(triangles)
    corners = points[:, triangles].reshape(batch * count, 3, 3)
    ax, ay, az, bx, by, bz, cx, cy, cz = corners.reshape(-1, 9).unbind(1)
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    which, column, row = candidates(corners[..., 0], corners[..., 1], area.abs() >= 1e-8, size)
    px, py = column + 0.5, row + 0.5
    ax, ay, az, bx, by, bz, cx, cy, cz, area = (t[which] for t in (ax, ay, az, bx, by, bz, cx, cy, cz, area))
    wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
    wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
    wc = 1 - wa - wb
    inside = (wa >= -EDGE_TOLERANCE) & (wb >= -EDGE_TOLERANCE) & (wc >= -EDGE_TOLERANCE)
    z = (wa * az + wb * bz + wc * cz)[inside]
    which, column, row = which[inside], column[inside], row[inside]
    owner, triangle = torch.div(which, count, rounding_mode="floor"), which % count
    pixel = (owner * size + row) * size + column
    key = (_ordered(z) << _INDEX_BITS) | (2**_INDEX_BITS - 1 - triangle)
    best = torch.full((batch * size * size,), _LOWEST, dtype=torch.int64, device=points.device)
    best.scatter_reduce_(0, pixel, key, "amax")
    won = key == best[pixel]
    at, size_all = pixel[won], batch * size * size

    def picture(fill: float, values: Tensor) -> Tensor:
        flat = torch.full((size_all,), fill, dtype=values.dtype, device=points.device)
        flat[at] = values[won]
        return flat.view(batch, size, size)

    return BatchFragments(
        picture(NOTHING, triangle), picture(0, wa[inside]), picture(0, wb[inside]), picture(-torch.inf, z)
    )


def _ordered(z: Tensor) -> Tensor:
    """Integers in the order of float32 values."""
    bits = z.contiguous().view(torch.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).long()


def hits_of(fragments: BatchFragments, visible: Tensor, triangles: Tensor, channels: Tensor) -> Hits:
    """Interpolate channels (B, V, C) at the pixels where `visible` (B, S, S) holds."""
    size = fragments.triangle.shape[1]
    pixel = visible.reshape(-1).nonzero()[:, 0]
    owner = torch.div(pixel, size * size, rounding_mode="floor")
    triangle = fragments.triangle.reshape(-1)[pixel]
    wa, wb = fragments.weight_a.reshape(-1)[pixel], fragments.weight_b.reshape(-1)[pixel]
    a, b, c = triangles[triangle].unbind(1)
    flat = channels.reshape(-1, channels.shape[2])
    base = owner * channels.shape[1]
    mixed = (
        flat[base + a] * wa[:, None] + flat[base + b] * wb[:, None] + flat[base + c] * (1 - wa - wb)[:, None]
    )
    return Hits(pixel, owner, triangle, mixed.T)


def vertex_normals_batch(points: Tensor, triangles: Tensor) -> Tensor:
    """Area-weighted unit normals (B, V, 3) for points with y down; see `facepipe.lab.faces.raster`."""
    a, b, c = (points[:, triangles[:, k]] for k in range(3))
    face = -torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(points)
    for k in range(3):
        normals.index_add_(1, triangles[:, k], face)
    return normals / (normals.norm(dim=2, keepdim=True) + 1e-9)
