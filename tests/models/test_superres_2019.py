"""The figures that the 2019 study published, from its photos and checkpoints."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from facepipe.cli.models import import_weights
from facepipe.imaging.degrade import degrade, make_reference
from facepipe.imaging.images import read_image
from facepipe.metrics.image import psnr_db, ssim
from facepipe.models.superres.methods import get_method

PHOTOS = ("AFW_134212_1", "AFW_134212_2", "AFW_261068_1")
CHECKPOINTS = {4: "super_res_model_epoch_300_32.pth", 2: "super_res_model_epoch_500_64.pth"}

# PSNR in dB and SSIM of each photo, published by A. G. Menezes, "3D face reconstruction from
# low-resolution images" (2019): degraded with OpenCV's INTER_LINEAR from 450 px.
PUBLISHED = {
    (32, "bilinear"): ((25.086, 0.755), (23.402, 0.740), (24.437, 0.700)),
    (32, "bicubic"): ((24.673, 0.747), (23.017, 0.727), (23.999, 0.696)),
    (32, "espcn-2019"): ((23.972, 0.737), (22.225, 0.688), (22.811, 0.661)),
    (64, "bilinear"): ((29.693, 0.896), (27.891, 0.894), (29.232, 0.883)),
    (64, "bicubic"): ((29.374, 0.894), (27.466, 0.886), (29.020, 0.888)),
    (64, "espcn-2019"): ((28.619, 0.883), (25.789, 0.865), (28.039, 0.873)),
}


@pytest.mark.parametrize(("low_px", "name"), list(PUBLISHED))
def test_published_figures_are_reproduced(real_data: Path, low_px: int, name: str) -> None:
    for scale, checkpoint in CHECKPOINTS.items():
        import_weights(real_data / "espcn_2019" / checkpoint, f"espcn-2019-x{scale}")
    resolver = get_method(name).build(low_px)
    for photo, published in zip(PHOTOS, PUBLISHED[low_px, name], strict=True):
        image, _ = read_image(real_data / "afw" / f"{photo}.jpg")
        assert image.shape == (450, 450, 3)
        restored = resolver(degrade(image, "linear", low_px, 0, photo)[None])[0]
        reference = make_reference(image)
        measured = (round(psnr_db(reference, restored), 3), round(ssim(reference, restored), 3))
        assert measured == published, photo


def test_the_networks_are_not_worse_once_the_degradation_is_not_aliased(real_data: Path) -> None:
    """The study's conclusion came from its degradation: averaged by area, its networks win."""
    photos = sorted((real_data / "afw").glob("*.jpg")) + sorted((real_data / "aflw2000").glob("*.jpg"))
    for scale, checkpoint in CHECKPOINTS.items():
        import_weights(real_data / "espcn_2019" / checkpoint, f"espcn-2019-x{scale}")
        low_px = 128 // scale
        gains = []
        for path in photos:
            image, _ = read_image(path)
            low = cv2.resize(image, (low_px, low_px), interpolation=cv2.INTER_AREA)[None]
            reference = make_reference(image)
            network, bicubic = (
                psnr_db(reference, get_method(name).build(low_px)(low)[0])
                for name in ("espcn-2019", "bicubic")
            )
            gains.append(network - bicubic)
        assert np.mean(gains) > 0.3
