"""The examples that read a user's ONNX file, with files written here whose answers are known."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx_files import write_onnx

from facepipe.core.errors import PluginFailedError
from facepipe.core.plugins import load_plugin
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import open_metric_plugin
from facepipe.models.vrn.plugin_regressor import PluginVolumes
from facepipe.models.vrn.regressors import get_regressor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(EXAMPLES)
    load_plugin.cache_clear()
    return EXAMPLES


def plain(rgb: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.uint8(rgb), (128, 128, 1))


# A pyramid with a square base of 60 pixels of 120, 40 to 100 from the left, its top towards the camera.
CORNERS = np.array([[40.5, 20.5, 0], [100.5, 20.5, 0], [100.5, 80.5, 0], [40.5, 80.5, 0], [70.5, 50.5, 30]])
FACES = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4]])


@pytest.fixture
def tddfa(tmp_path: Path) -> Path:
    """Files in 3DDFA_V2's layout whose network moves the pyramid to the right with the image's blue."""
    pose = np.concatenate([np.eye(3), np.zeros((3, 1))], axis=1).ravel()
    bias = np.zeros(62, np.float32)
    weight = np.zeros((3, 62), np.float32)
    weight[0, 3] = 1.0  # the first channel, blue in BGR, to tx
    write_onnx(
        tmp_path / "mb1_120x120.onnx", {"input": (1, 3, 120, 120)},
        [("GlobalAveragePool", ["input"], "means"), ("Flatten", ["means"], "flat"),
         ("MatMul", ["flat", "weight"], "product"), ("Add", ["product", "bias"], "params")],
        {"weight": weight, "bias": bias}, ("params", (1, 62)),
    )  # fmt: skip
    mean = np.concatenate([pose, np.zeros(50)])
    mean[3] += 10 * 127.5 / 128  # black is moved by nothing
    scaling = {"mean": mean, "std": np.full(62, 10.0)}
    basel = {
        "u": CORNERS.reshape(-1, 1), "w_shp": np.zeros((15, 40)), "w_exp": np.zeros((15, 10)),
        "tri": FACES.T + 1,
    }  # fmt: skip
    (tmp_path / "param_mean_std_62d_120x120.pkl").write_bytes(pickle.dumps(scaling))
    (tmp_path / "bfm_noneck_v3.pkl").write_bytes(pickle.dumps(basel))
    return tmp_path


def test_3ddfa_v2_in_its_published_layout(examples: Path, tddfa: Path):
    from tddfa_v2 import TddfaV2

    colours = ((0, 0, 0), (255, 0, 0), (0, 0, 255))
    black, blue, red = TddfaV2(tddfa).build("cpu")(np.stack([plain(colour) for colour in colours]))
    expected = (CORNERS - [0.5, 0, 0]) * [1, -1, 1] + [0, 120.5, 0]
    np.testing.assert_allclose(black.vertices, expected * 128 / 120, atol=1e-4)
    np.testing.assert_allclose(red.vertices, black.vertices, atol=1e-4)
    moved = (blue.vertices - black.vertices) * 120 / 128
    np.testing.assert_allclose(moved, np.tile([10 * 255 / 128, 0, 0], (5, 1)), atol=1e-3)


def test_3ddfa_v2_is_scored_like_any_regressor(
    examples: Path, tddfa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "mine.py").write_text(f"from tddfa_v2 import TddfaV2\nhere = TddfaV2({str(tddfa)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    regressor = get_regressor("mine:here")
    before = regressor.fingerprint()
    inside = regressor.build()(plain((0, 0, 0))[None])[0] >= 128
    # A third of base times height: 64 x 64 x 32 reference pixels, three slices to one; x from 42.7 to 106.7.
    assert inside.sum() == pytest.approx(64 * 64 * 32, rel=0.03)
    assert inside.any(axis=(0, 1)).nonzero()[0][[0, -1]].tolist() == [43, 106]
    (tddfa / "param_mean_std_62d_120x120.pkl").write_bytes(pickle.dumps(os.system))
    assert get_regressor("mine:here").fingerprint() != before
    with pytest.raises(PluginFailedError, match="system in a file of arrays"):
        PluginVolumes("mine:here")


def test_a_distance_of_two_images(examples: Path, tmp_path: Path):
    import onnx_metrics

    file = write_onnx(
        tmp_path / "d.onnx", {"a": (1, 3, 64, 64), "b": (1, 3, 64, 64)},
        [("Sub", ["a", "b"], "difference"), ("Abs", ["difference"], "distances"),
         ("GlobalAveragePool", ["distances"], "means"), ("Flatten", ["means"], "flat"),
         ("MatMul", ["flat", "third"], "distance")],
        {"third": np.full((3, 1), 1 / 3, np.float32)}, ("distance", (1, 1)),
    )  # fmt: skip
    measure = replace(onnx_metrics.lpips, file=file, size_px=64).build("cpu")
    inputs = MetricInputs(plain((0, 0, 0)), plain((0, 0, 255)))
    assert measure(inputs) == pytest.approx(2 / 3, abs=1e-5)
    assert measure(MetricInputs(inputs.reference, inputs.reference)) == 0


def test_a_similarity_of_embeddings_in_its_own_order_of_colours(
    examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = write_onnx(
        tmp_path / "e.onnx", {"image": (1, 3, 32, 32)},
        [("GlobalAveragePool", ["image"], "means"), ("Flatten", ["means"], "flat"),
         ("MatMul", ["flat", "first"], "embedding")],
        {"first": np.diag(np.float32([1, 1, 0]))}, ("embedding", (1, 3)),
    )  # fmt: skip
    (tmp_path / "mine_metrics.py").write_text(
        "from dataclasses import replace\nfrom pathlib import Path\nimport onnx_metrics\n"
        f"identity = replace(onnx_metrics.identity, file=Path({str(file)!r}), size_px=32, mean=(0, 0, 0))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    measure = open_metric_plugin("mine_metrics:identity").build()
    # Blue and green count, red does not.
    assert measure(MetricInputs(plain((9, 0, 80)), plain((200, 0, 80)))) == pytest.approx(1.0)
    assert measure(MetricInputs(plain((0, 0, 80)), plain((0, 80, 0)))) == pytest.approx(0.0, abs=1e-6)
    assert measure(MetricInputs(plain((0, 0, 80)), plain((0, 80, 80)))) == pytest.approx(2**-0.5)
