"""Networks on a real GPU; without one these tests are skipped, and say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster

from facepipe.metrics.geometry import volume_iou
from facepipe.models.gpu_batches import GpuBatches
from facepipe.models.inference import GPU_BATCH, run_batched
from facepipe.models.vrn.regressors import get_regressor
from facepipe.pipeline.cluster.worker_settings import NO_PAGES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: not run")

MIN_IOU = 0.99


def images(count: int) -> np.ndarray:
    """Smooth pictures: faces need not be in them."""
    coarse = np.random.default_rng(3).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


@pytest.mark.parametrize("count", [1, GPU_BATCH, 3 * GPU_BATCH + 5])
def test_overlapping_batches_give_what_one_after_the_other_gives(count: int) -> None:
    device = torch.device("cuda")
    forward = lambda x: (x.float() * 0.5 + 3).sum(dim=3).round().to(torch.uint8)  # noqa: E731
    inputs = images(count)
    run = GpuBatches(forward, device, inputs.shape[1:])
    for _ in range(2):
        np.testing.assert_array_equal(run(inputs), run_batched(forward, inputs, device))


@pytest.mark.parametrize("backend", ["torch", "torch-bf16"])
def test_a_volume_depends_on_its_image_alone_and_is_near_that_of_the_cpu(backend: str) -> None:
    regressor = get_regressor("vrn-compact")
    faces = images(GPU_BATCH + 3)
    volumes = regressor.build("cuda", backend)(faces)
    np.testing.assert_array_equal(regressor.build("cuda", backend)(faces[::-1])[::-1], volumes)
    np.testing.assert_array_equal(regressor.build("cuda", backend)(faces[-1:])[0], volumes[-1])
    expected = regressor.build("cpu", backend)(faces[:2])
    assert min(volume_iou(a, b) for a, b in zip(volumes, expected, strict=False)) > MIN_IOU


def test_a_worker_that_offers_a_gpu_has_one() -> None:
    """What the engine takes for granted when it places networks there."""
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, resources={"GPU": 1}, **NO_PAGES) as cluster,
        Client(cluster) as client,
    ):
        name = client.submit(torch.cuda.get_device_name, resources={"GPU": 1}).result(timeout=60)
    assert name == torch.cuda.get_device_name()
