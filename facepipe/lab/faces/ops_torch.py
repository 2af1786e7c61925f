"""The array functions of shading for torch; see `facepipe.lab.faces.ops`."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from facepipe.lab.faces.noise import TABLE, TABLE_SIDE

Tensor = torch.Tensor


class TorchOps:
    """Array functions on float32 tensors of one device."""

    exp = staticmethod(torch.exp)
    sqrt = staticmethod(torch.sqrt)
    cos = staticmethod(torch.cos)
    sin = staticmethod(torch.sin)
    absolute = staticmethod(torch.abs)
    arctan2 = staticmethod(torch.arctan2)
    where = staticmethod(torch.where)
    clip = staticmethod(torch.clip)
    zeros_like = staticmethod(torch.zeros_like)

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._table = torch.from_numpy(TABLE.ravel()).to(device)

    @staticmethod
    def stack(columns: list[Tensor]) -> Tensor:
        """(3, N) from three (N,)."""
        return torch.stack(columns)

    @staticmethod
    def power(base: Tensor, exponent: Tensor) -> Tensor:
        """base ** exponent for bases in 0..1."""
        return torch.exp(torch.log(torch.clip(base, 1e-6, None)) * exponent)

    def row(self, values: tuple[float, float, float]) -> Tensor:
        """A constant vector, (3, 1)."""
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

    def noise(self, points: Tensor) -> Tensor:
        """Noise (N,) in -1..1 at points (3, N), as `facepipe.lab.faces.noise.noise`."""
        cell = torch.floor(points)
        part = points - cell
        u, v, w = part * part * (3.0 - 2.0 * part)
        low = cell.long() & (TABLE_SIDE - 1)
        high = (low + 1) & (TABLE_SIDE - 1)

        def at(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
            return self._table[(x * TABLE_SIDE + y) * TABLE_SIDE + z]

        def plane(z: Tensor) -> Tensor:
            front = (1 - u) * at(low[0], low[1], z) + u * at(high[0], low[1], z)
            back = (1 - u) * at(low[0], high[1], z) + u * at(high[0], high[1], z)
            return (1 - v) * front + v * back

        return (1 - w) * plane(low[2]) + w * plane(high[2])


class BatchValues:
    """A batch of looks read per fragment: each value is gathered when it is first used.

    Args:
        entries: name -> (B,) or (3, B).
        owner: (N,), which picture of the batch each fragment belongs to.
    """

    def __init__(self, entries: Mapping[str, Tensor], owner: Tensor) -> None:
        self._entries = entries
        self._owner = owner
        self._gathered: dict[str, Tensor] = {}

    def subset(self, where: Tensor) -> BatchValues:
        """The values for some of the fragments (N,) bool."""
        return BatchValues(self._entries, self._owner[where])

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name not in self._entries:
            raise AttributeError(name)
        if name not in self._gathered:
            self._gathered[name] = self._entries[name][..., self._owner]
        return self._gathered[name]
