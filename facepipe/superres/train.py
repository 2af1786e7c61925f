"""Training ESPCN.

Squares of photographs and faces are degraded exactly as the benchmark degrades crops; the network sees
luma patches and is trained for small squared error, which is what PSNR measures: after 500 steps it is
0.5 dB ahead of absolute error, and orthogonal initial weights are 0.1 dB ahead of torch's own. Every batch
is drawn from (seed, step) alone, so that a run that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from facepipe.checkpoint import load_checkpoint, save_checkpoint
from facepipe.conventions import NETWORK_PX
from facepipe.errors import UsageError
from facepipe.metrics.image import psnr_db
from facepipe.superres.espcn import Espcn, EspcnResolver
from facepipe.superres.material import Image8, Material, make_pair
from facepipe.weights import WeightsFile, WeightsInfo, check_name, save_weights

PATCH_PX = 24
"""Largest side of a low-resolution training patch: about twice the 11 px that decide about a pixel."""

CHECKPOINT_EVERY = 500
_FINAL_RATE_SHARE = 0.01


@dataclass(frozen=True)
class TrainingPlan:
    """What a training is determined by, apart from its images.

    Attributes:
        name: the name of the weights.
        scale: enlargement factor.
        degradation: one of `degrade.DEGRADATIONS`.
        steps: optimiser steps; 0 gives untrained weights.
        batch: patches a step.
        learning_rate: of Adam at the start; falls to a hundredth of it along a cosine.
        seed: of initial weights and of every draw.
    """

    name: str
    scale: int
    degradation: str
    steps: int
    batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        check_name(self.name)
        if self.scale < 2 or NETWORK_PX % self.scale or self.scale > 16:
            raise UsageError(f"--scale {self.scale}: use 2, 4, 8 or 16")
        if self.steps < 0 or self.batch < 1 or not self.learning_rate > 0:
            raise UsageError("--steps must be 0 or more, --batch 1 or more, --learning-rate above 0")

    @property
    def low_px(self) -> int:
        """Side of the low-resolution images."""
        return NETWORK_PX // self.scale


def draw_batch(plan: TrainingPlan, material: Material, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the patches of a step.

    Returns:
        float32 luma in [0, 1]: low-resolution patches (B, 1, p, p) and their references (B, 1, rp, rp).
    """
    generator = np.random.default_rng((plan.seed, step))
    side = min(PATCH_PX, plan.low_px)
    low_patches, high_patches = [], []
    for index in range(plan.batch):
        square = material.square(generator)
        low, reference = make_pair(square, plan.degradation, plan.low_px, plan.seed, f"{step}/{index}")
        y, x = (int(value) for value in generator.integers(plan.low_px - side + 1, size=2))
        low_patches.append(_luma(low[y : y + side, x : x + side]))
        y, x, high_side = y * plan.scale, x * plan.scale, side * plan.scale
        high_patches.append(_luma(reference[y : y + high_side, x : x + high_side]))
    return _tensor(low_patches), _tensor(high_patches)


def _luma(image: Image8) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).convert("YCbCr"))[:, :, 0]


def _tensor(patches: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
    return torch.from_numpy(np.stack(patches)[:, None].astype(np.float32) / 255)


class Trainer:
    """A training that can be interrupted.

    Args:
        plan: what to train.
        material: what to train on.
        checkpoint: where its state is kept; an existing one of the same plan is resumed.
        device: a torch device.

    Raises:
        UsageError: the checkpoint belongs to another plan.
        WeightsError: the checkpoint is damaged.
    """

    def __init__(self, plan: TrainingPlan, material: Material, checkpoint: Path, device: str = "cpu") -> None:
        self.plan = plan
        self.material = material
        self.checkpoint = checkpoint
        self.device = torch.device(device)
        self.step = 0
        self.seconds = 0.0
        torch.manual_seed(plan.seed)
        # With channels last a step takes a sixth less time on a CPU.
        network = _initialised(Espcn(plan.scale))
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=plan.learning_rate)
        if checkpoint.exists():
            self._resume()

    def run(self, advance: Callable[[int], None]) -> None:
        """Train to the end of the plan; ``advance`` is told of every step done."""
        advance(self.step)
        started, before = time.monotonic(), self.seconds
        while self.step < self.plan.steps:
            self._one_step()
            advance(1)
            self.seconds = before + time.monotonic() - started
            if self.step % CHECKPOINT_EVERY == 0 or self.step == self.plan.steps:
                self._save()

    def _one_step(self) -> None:
        low, high = draw_batch(self.plan, self.material, self.step)
        low = low.to(self.device, memory_format=torch.channels_last)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        loss = torch.nn.functional.mse_loss(self.network(low), high.to(self.device))
        if not math.isfinite(float(loss.detach())):
            raise UsageError(f"the training diverged at step {self.step}: use a smaller --learning-rate")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1

    def _rate(self) -> float:
        falling = 0.5 * (1 + math.cos(math.pi * self.step / self.plan.steps))
        return self.plan.learning_rate * (_FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * falling)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        save_checkpoint(self.checkpoint, asdict(self.plan), state)

    def _resume(self) -> None:
        state = load_checkpoint(self.checkpoint, asdict(self.plan), self.device)
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save_weights(self, folder: Path, training: dict[str, Any], figures: dict[str, Any]) -> WeightsFile:
        """Write the network as weights with their description."""
        plan = self.plan
        info = WeightsInfo(
            name=plan.name,
            kind="superres",
            architecture="espcn",
            arguments={"scale": plan.scale, "quantise": "round"},
            trained=self.step > 0,
            scale=plan.scale,
            degradation=plan.degradation,
            colour="Y in 0..1 through the network, Cb and Cr by Pillow's bicubic",
            licence="MIT",
            source="trained by facepipe",
            training=training,
            figures=figures,
        )
        tensors = {key: value.cpu().numpy() for key, value in self.network.state_dict().items()}
        return save_weights(folder / f"{plan.name}.safetensors", tensors, info)


def _initialised(network: Espcn) -> Espcn:
    """Give the convolutions orthogonal weights that keep the size of signals through ReLU."""
    gain = torch.nn.init.calculate_gain("relu")
    for layer in (network.conv1, network.conv2, network.conv3):
        torch.nn.init.orthogonal_(layer.weight, gain)
    torch.nn.init.orthogonal_(network.conv4.weight)
    return network


def measure(file: WeightsFile, images: Sequence[Image8]) -> dict[str, float]:
    """Mean PSNR over RGB of weights and of bicubic interpolation on whole images.

    Args:
        file: weights of architecture 'espcn'.
        images: uint8 RGB (H, W, 3); each is cut to the square in its middle.

    Returns:
        ``images``, ``psnr_db`` and ``bicubic_psnr_db``.
    """
    resolver = EspcnResolver(file)
    scale = file.info.scale or 1
    network, bicubic = [], []
    for index, image in enumerate(images):
        pair = make_pair(_middle(image), file.info.degradation, NETWORK_PX // scale, 0, str(index))
        low, reference = pair
        network.append(psnr_db(reference, resolver(low[None])[0]))
        size = (NETWORK_PX, NETWORK_PX)
        enlarged = np.asarray(cv2.resize(low, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        bicubic.append(psnr_db(reference, enlarged))
    return {
        "images": len(images),
        "psnr_db": round(float(np.mean(network)), 3),
        "bicubic_psnr_db": round(float(np.mean(bicubic)), 3),
    }


def _middle(image: Image8) -> Image8:
    side = min(image.shape[:2])
    y, x = ((extent - side) // 2 for extent in image.shape[:2])
    return np.ascontiguousarray(image[y : y + side, x : x + side])
