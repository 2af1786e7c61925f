"""The camera for batches; see `facepipe.lab.faces.camera`.

The same stages with the same parameters; grain and JPEG are computed with torch and differ from the CPU
path's in the last bits of their random numbers and rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from facepipe.lab.faces.camera import Camera

Tensor = torch.Tensor

# ITU T.81, annex K: the example tables that encoders scale by quality.
LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *([99] * 32),
)  # fmt: skip
GREY = (0.299, 0.587, 0.114)
BLUR_RADIUS = 6


def photograph_batch(light: Tensor, cameras: list[Camera]) -> Tensor:
    """Linear light (B, 3, S, S) to uint8 RGB (B, 3, S, S); S a multiple of 16."""
    device, size = light.device, light.shape[2]

    def each(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None, None]

    gain = torch.tensor([camera.gain for camera in cameras], device=device)[:, :, None, None]
    exposed = light * gain
    shoulder = each([camera.shoulder for camera in cameras])
    rolled = torch.where(shoulder > 0, 1 - torch.exp(-1.25 * exposed), exposed)
    shown = rolled.clamp(0, 1) ** (1 / 2.2)
    shown = (shown - 0.5) * each([camera.contrast for camera in cameras]) + 0.5
    grey = (shown * torch.tensor(GREY, device=device)[None, :, None, None]).sum(1, keepdim=True)
    shown = (grey + (shown - grey) * each([camera.saturation for camera in cameras])).clamp(0, 1)
    shown = _blur(shown, [_sigma_px(camera, size) for camera in cameras])
    grain = _gaussian(torch.tensor([camera.seed for camera in cameras], device=device), shown[0].numel())
    shown = shown + each([camera.grain for camera in cameras]) * grain.view_as(shown)
    bytes_ = (shown * 255).round().clamp(0, 255)
    bytes_ = bytes_ * _inside(cameras, size, device)
    return _jpeg(bytes_, [camera.jpeg_quality for camera in cameras]).to(torch.uint8)


def _sigma_px(camera: Camera, size: int) -> float:
    """One blur for the lens and for having been stored smaller: a pixel of 1 / detail is as soft as this."""
    stored = 0.45 * math.sqrt(max(camera.detail**-2 - 1, 0.0))
    return math.hypot(camera.softness_px * size / 128, stored)


def _blur(pictures: Tensor, sigmas: list[float]) -> Tensor:
    offset = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=pictures.device, dtype=torch.float32)
    sigma = torch.tensor(sigmas, device=pictures.device).clamp(min=0.05)[:, None]
    kernel = torch.exp(-0.5 * (offset / sigma) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    batch, _, size, _ = pictures.shape
    flat = F.pad(pictures.reshape(1, batch * 3, size, size), (BLUR_RADIUS,) * 4, mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=batch * 3)
    return F.conv2d(flat, kernel[:, None, :, None], groups=batch * 3).view_as(pictures)


def _gaussian(seeds: Tensor, count: int) -> Tensor:
    """Standard normal numbers (B, count) that depend on each seed only: hashed counters, Box-Muller."""
    counter = torch.arange(count, device=seeds.device)[None] * 2

    def uniform(shift: int) -> Tensor:
        state = (seeds[:, None] * 0x9E3779B1 + (counter + shift) * 0x85EBCA6B) & 0xFFFFFFFF
        for multiplier in (0x7FEB352D, 0x846CA68B):
            state = ((state ^ (state >> 16)) * multiplier) & 0xFFFFFFFF
        return ((state ^ (state >> 16)).float() + 0.5) / 2**32

    radius = torch.sqrt(-2 * torch.log(uniform(0).clamp(1e-12, 1.0)))
    return radius * torch.cos(2 * math.pi * uniform(1))


def _inside(cameras: list[Camera], size: int, device: torch.device) -> Tensor:
    mask = np.ones((len(cameras), 1, size, size), np.float32)
    for picture, camera in zip(mask, cameras, strict=True):
        left, top, right, bottom = (round(share * size) for share in camera.borders)
        picture[:, :top], picture[:, :, :left] = 0, 0
        picture[:, size - bottom :], picture[:, :, size - right :] = 0, 0
    return torch.from_numpy(mask).to(device)


def _jpeg(pictures: Tensor, qualities: list[int]) -> Tensor:
    """Quantise as JPEG with 4:2:0 chroma does; quality 0 leaves a picture as it is."""
    device = pictures.device
    forward = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], device=device
    )
    ycc = torch.einsum("ij,bjhw->bihw", forward, pictures)
    quality = torch.tensor(qualities, dtype=torch.float32, device=device).clamp(1, 100)
    percent = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)[:, None]
    tables = [
        ((torch.tensor(table, device=device, dtype=torch.float32)[None] * percent + 50) / 100)
        .floor()
        .clamp(1, 255)
        for table in (LUMA, CHROMA)
    ]
    luma = _blocks(ycc[:, :1] - 128, tables[0]) + 128
    chroma = F.interpolate(_blocks(F.avg_pool2d(ycc[:, 1:], 2), tables[1]), scale_factor=2, mode="bilinear")
    back = torch.einsum("ij,bjhw->bihw", torch.linalg.inv(forward), torch.cat([luma, chroma], 1))
    stored = torch.tensor([value > 0 for value in qualities], device=device)[:, None, None, None]
    return torch.where(stored, back.round().clamp(0, 255), pictures)


def _blocks(planes: Tensor, table: Tensor) -> Tensor:
    """Round the cosine transform of 8 x 8 blocks to multiples of a table (B, 64)."""
    batch, channels, height, width = planes.shape
    k = torch.arange(8, device=planes.device, dtype=torch.float32)
    cosine = torch.cos((2 * k[None, :] + 1) * k[:, None] * math.pi / 16) / 2
    cosine[0] /= math.sqrt(2)
    blocks = planes.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    step = table.view(batch, 1, 1, 1, 8, 8)
    rounded = ((cosine @ blocks @ cosine.T) / step).round() * step
    return (cosine.T @ rounded @ cosine).permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, height, width)
