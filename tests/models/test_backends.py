"""Faster backends against torch in float32: agreement, independence, and what a run records."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from facepipe.bench.config import make_config
from facepipe.bench.run_folder import describe, prepare
from facepipe.core.errors import UsageError
from facepipe.datasets.catalog import open_dataset
from facepipe.imaging.degrade import make_reference
from facepipe.metrics.geometry import volume_iou
from facepipe.models.vrn import backends
from facepipe.models.vrn.base import VolumeRegressor
from facepipe.models.vrn.regressors import get_regressor

LARGEST_DIFFERENCE = 8
"""Grey levels of 255: bfloat16 has 8 bits of precision."""

MIN_IOU = 0.99


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    dataset = open_dataset("sample", "auto")
    return np.stack([make_reference(dataset.load(ref).image) for ref in dataset.refs()[:3]])


@pytest.fixture(scope="module", params=["torch-bf16", "openvino"])
def fast(request: pytest.FixtureRequest) -> VolumeRegressor:
    return get_regressor("vrn-compact").build(backend=request.param)


@pytest.fixture(scope="module")
def volumes(fast: VolumeRegressor, faces: np.ndarray) -> np.ndarray:
    return fast(faces)


def test_both_backends_see_the_same_face(volumes: np.ndarray, faces: np.ndarray) -> None:
    expected = get_regressor("vrn-compact").build()(faces)
    assert volumes.dtype == np.uint8
    assert volumes.shape == expected.shape
    assert np.abs(volumes.astype(int) - expected).max() <= LARGEST_DIFFERENCE
    for volume, other in zip(volumes, expected, strict=True):
        assert (volume >= 128).any()
        assert volume_iou(volume, other) > MIN_IOU


def test_a_volume_does_not_depend_on_neighbours_or_order(
    fast: VolumeRegressor, volumes: np.ndarray, faces: np.ndarray
) -> None:
    np.testing.assert_array_equal(fast(faces[::-1])[::-1], volumes)
    np.testing.assert_array_equal(fast(faces[1:2])[0], volumes[1])
    assert fast(faces[:0]).shape == (0, *volumes.shape[1:])


def test_a_copy_in_another_process_gives_the_same(
    fast: VolumeRegressor, volumes: np.ndarray, faces: np.ndarray
) -> None:
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fast))(faces[:1]), volumes[:1])


@pytest.mark.parametrize("backend", ["torch-bf16", "openvino"])
def test_a_network_is_loaded_once_for_each_backend(backend: backends.Backend) -> None:
    regressor = get_regressor("vrn-compact")
    assert regressor.build(backend=backend) is regressor.build(backend=backend)
    assert regressor.build() is not regressor.build(backend=backend)


def test_bfloat16_is_not_float32(faces: np.ndarray) -> None:
    exact = get_regressor("vrn-compact").build()(faces)
    assert (get_regressor("vrn-compact").build(backend="torch-bf16")(faces) != exact).any()


def test_openvino_has_no_other_device() -> None:
    with pytest.raises(UsageError, match="runs on the CPU, not on 'cuda'"):
        get_regressor("vrn-compact").build("cuda", "openvino")


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(backends.PACKAGES, "openvino", "no_such_package")
    with pytest.raises(UsageError, match=r"pip install 'facepipe\[openvino\]'"):
        describe(make_config({"backend": "openvino"}))


def test_the_backend_is_recorded_and_part_of_the_run(tmp_path) -> None:
    options = {"out": tmp_path / "run", "limit": 2, "backend": "openvino"}
    run = prepare(make_config(options)).read_run()
    assert run["config"]["backend"] == run["identity"]["backend"] == "openvino"
    assert run["versions"]["openvino"]
    with pytest.raises(UsageError, match='backend: "openvino" -> "torch"'):
        prepare(make_config(options | {"backend": "torch"}))


def test_openvino_units_are_not_sent_to_gpu_workers() -> None:
    assert "regress" in describe(make_config({"limit": 1})).gpu_stages
    assert "regress" not in describe(make_config({"limit": 1, "backend": "openvino"})).gpu_stages


def test_auto_is_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(backends, "_NVIDIA_DRIVER", tmp_path / "none")
    assert make_config({"backend": "auto"}) == make_config({"backend": "openvino"})
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "openvino" else name)
    (tmp_path / "cpuinfo").write_text("flags : fpu avx512_bf16")
    monkeypatch.setattr(backends, "_CPU_INFO", tmp_path / "cpuinfo")
    assert backends.check_backend("auto") == "torch-bf16"
    (tmp_path / "cpuinfo").write_text("flags : fpu avx2")
    assert backends.check_backend("auto") == "torch"
    monkeypatch.setattr(backends, "_NVIDIA_DRIVER", tmp_path)
    assert backends.check_backend("auto") == "torch-bf16"
