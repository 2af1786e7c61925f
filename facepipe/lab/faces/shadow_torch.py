"""Cast shadows for batches; see `facepipe.lab.faces.shadow`."""

from __future__ import annotations

import numpy as np
import torch

from facepipe.lab.faces.appearance_values import Look
from facepipe.lab.faces.raster_torch import rasterise_batch
from facepipe.lab.faces.shadow import MAP_PX, TAPS, light_frame

Tensor = torch.Tensor


class BatchShadowMap:
    """What each picture's key light sees.

    Args:
        points: (B, P, 3), picture pixels; triangles: (T, 3), shared.
        looks: one for each picture.
    """

    def __init__(self, points: Tensor, triangles: Tensor, looks: list[Look]) -> None:
        device = points.device
        self._frame = torch.from_numpy(np.stack([light_frame(look.key_direction) for look in looks])).to(
            device
        )
        turned = points @ self._frame.transpose(1, 2)
        low, high = turned.amin(1), turned.amax(1)
        self._scale = (MAP_PX - 8) / (high - low)[:, :2].amax(1).clamp(min=1e-6)
        self._offset = MAP_PX / 2 - (low + high) / 2 * self._scale[:, None]
        self._offset[:, 2] = 0
        seen = turned * self._scale[:, None, None] + self._offset[:, None]
        self._depth = rasterise_batch(seen, triangles, MAP_PX).depth.view(-1)
        self._softness = torch.tensor([look.softness for look in looks], device=device)

    def share(self, positions: Tensor, owner: Tensor) -> Tensor:
        """How much of the light reaches positions (3, N) of pictures `owner` (N,)."""
        turned = torch.einsum("nij,jn->in", self._frame[owner], positions)
        x, y, z = turned * self._scale[owner] + self._offset[owner].T
        softness = self._softness[owner]
        total = torch.zeros_like(x)
        for across, down in TAPS:
            column = torch.floor(x + across * softness).clamp(0, MAP_PX - 1).long()
            row = torch.floor(y + down * softness).clamp(0, MAP_PX - 1).long()
            reach = 2.2 + 1.2 * (abs(across) + abs(down)) * softness
            total += (z >= self._depth[(owner * MAP_PX + row) * MAP_PX + column] - reach).float()
        return total / len(TAPS)
