"""Validation during the training of a super-resolver: PSNR on held-out faces, in its own colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from facepipe.lab.superres.evaluate import BASELINE, make_pairs
from facepipe.lab.superres.superres_plan import TrainingPlan
from facepipe.lab.superres.training_data import TrainingData
from facepipe.models.superres.interpolate import get_interpolation

VALIDATION_IMAGES = 32

ToTensor = Callable[[NDArray[np.uint8]], torch.Tensor]


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Held-out faces.

    Attributes:
        low: uint8 RGB (N, h, h, 3).
        reference: uint8 RGB (N, 128, 128, 3).
        bicubic: what bicubic interpolation makes of the former, like the latter.
    """

    low: NDArray[np.uint8]
    reference: NDArray[np.uint8]
    bicubic: NDArray[np.uint8]


def validation_set(plan: TrainingPlan, training_data: TrainingData) -> ValidationSet | None:
    """Degrade the first held-out faces; None where there are none."""
    pairs = make_pairs(training_data.held_out[:VALIDATION_IMAGES], plan.degradation, plan.scale)
    if not pairs:
        return None
    low = np.stack([pair.lows[0] for pair in pairs])
    bicubic = get_interpolation(BASELINE).build(plan.low_px)(low)
    return ValidationSet(low, np.stack([pair.reference for pair in pairs]), bicubic)


def validate(
    network: torch.nn.Module, to_tensor: ToTensor, images: ValidationSet, device: torch.device
) -> tuple[float, float]:
    """Mean PSNR over images, in dB, and how far it is above that of bicubic interpolation."""
    reference = to_tensor(images.reference)
    with torch.inference_mode():
        restored = torch.cat(
            [network(to_tensor(image[None]).to(device)).float().cpu().clamp(0, 1) for image in images.low]
        )
    psnr, baseline = (_psnr_db(made, reference) for made in (restored, to_tensor(images.bicubic)))
    return psnr, psnr - baseline


def _psnr_db(images: torch.Tensor, references: torch.Tensor) -> float:
    squares = (images - references).square().mean(dim=(1, 2, 3))
    return float((-10 * squares.clamp(min=1e-12).log10()).mean())
