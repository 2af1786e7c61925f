"""Plug-ins: found by name or `module:object`, checked, and named with the reason where they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facepipe.core import plugins
from facepipe.core.errors import PluginError, PluginFailedError, UsageError
from facepipe.core.plugins import check_installed, load_plugin, plugin_names
from facepipe.datasets.catalog import open_dataset
from facepipe.metrics.inputs import MetricInputs
from facepipe.metrics.plugin_metric import open_metric_plugin
from facepipe.models.superres.methods import get_method, resolve_methods
from facepipe.models.vrn.regressors import get_regressor

MODULE = '''
import numpy as np
from facepipe.core.conventions import VolumeGeometry
from facepipe.geometry.mesh_volume import FaceMesh
from facepipe.metrics.catalogue import Metric

class Blue:
    """Every pixel pure blue, in its own order of colours."""
    licence, low_px, colour_order, deterministic = "MIT", (16, 32), "bgr", True
    def build(self, low_px, device):
        return lambda images: np.tile(np.uint8([255, 0, 0]), (len(images), 128, 128, 1))

class Small(Blue):
    def build(self, low_px, device):
        return lambda images: images

class Failing(Blue):
    def build(self, low_px, device):
        return lambda images: 1 / 0

class Unlicensed:
    low_px, colour_order, deterministic = None, "rgb", True

class Square:
    """A square of 64 px in the plane z = 0, and nothing in black images."""
    licence, colour_order, deterministic, output = "MIT", "rgb", True, "mesh"
    geometry = VolumeGeometry(128, 60, (1.0, 1.0, 1.0), 30.0)
    def build(self, device):
        corners = np.array([[32, 32, 9], [96, 32, 9], [96, 96, 5], [32, 96, 5]], float)
        mesh = FaceMesh(corners, np.array([[0, 2, 1], [0, 3, 2]]))
        return lambda images: [mesh if image.any() else None for image in images]

class Difference:
    description = Metric("mean_difference", "Mean difference", "", 0.0, 255.0, False, "reference image",
                         "mean absolute difference", "this test")
    licence, deterministic = "MIT", True
    def build(self, device):
        return lambda inputs: float(np.abs(inputs.restored.astype(int) - inputs.reference).mean())
'''


@pytest.fixture
def at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module in the current folder, which is not on the path."""
    (tmp_path / "at_hand.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(tmp_path))])
    load_plugin.cache_clear()
    yield tmp_path / "at_hand.py"
    sys.modules.pop("at_hand", None)
    load_plugin.cache_clear()


def test_a_method_at_hand_restores_in_its_own_order_of_colours(at_hand: Path):
    method = get_method("at_hand:Blue")
    assert [px for px in range(4, 128) if method.fits(px)] == [16, 32]
    assert (method.build(16)(np.zeros((2, 16, 16, 3), np.uint8)) == (0, 0, 255)).all()
    source = load_plugin("method", "at_hand:Blue").source
    assert (source.package, source.licence, source.folder) == ("at_hand", "MIT", str(at_hand.parent))
    with pytest.raises(UsageError, match="'at_hand:Blue' does not fit low_px 64"):
        resolve_methods(["at_hand:Blue"], [16, 64])


def test_what_a_method_gives_is_checked(at_hand: Path):
    images = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(
        PluginFailedError, match=r"gave uint8 \(2, 16, 16, 3\); expected uint8 \(2, 128, 128, 3\)"
    ):
        get_method("at_hand:Small").build(16)(images)
    with pytest.raises(PluginFailedError, match="'at_hand:Failing' failed: ZeroDivisionError"):
        get_method("at_hand:Failing").build(16)(images)
    with pytest.raises(PluginError, match="`licence` is None"):
        get_method("at_hand:Unlicensed")
    with pytest.raises(PluginError, match="has no attribute 'Blau'"):
        get_method("at_hand:Blau")
    with pytest.raises(
        PluginError, match="has no colour_order, geometry, output; .*keeps to .*RegressorPlugin"
    ):
        get_regressor("at_hand:Difference")


def test_a_mesh_becomes_a_solid_in_the_stated_geometry(at_hand: Path):
    regressor = get_regressor("at_hand:Square")
    images = np.zeros((2, 128, 128, 3), np.uint8)
    images[1] = 200
    empty, solid = regressor.build()(images) >= 128
    assert not empty.any()
    # z goes from 5 to 9, so from -2 to 2 with its middle at 0: slices 28 to 31, fewer towards the lower edge.
    assert solid.any(axis=(1, 2)).nonzero()[0].tolist() == [28, 29, 30, 31]
    assert solid.any(axis=0).sum() == pytest.approx(64 * 64, abs=64 * 9)
    assert solid[:, 32:48].sum() > solid[:, 80:96].sum() > 0


def test_a_metric_gives_a_value_in_its_range(at_hand: Path):
    metric = open_metric_plugin("at_hand:Difference")
    black = np.zeros((128, 128, 3), np.uint8)
    assert metric.description.unit == ""
    assert metric.build()(MetricInputs(black, black + 3)) == 3.0


def test_names_are_suggested_over_plugins(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plugins, "_entry_points", lambda kind, path: {f"sharper-{kind}": None})
    assert plugin_names("metric") == ["sharper-metric"]
    with pytest.raises(UsageError, match="did you mean 'sharper-method'"):
        get_method("sharper-methd")
    with pytest.raises(UsageError, match="did you mean 'sharper-regressor'"):
        get_regressor("sharper-regresor")
    with pytest.raises(UsageError, match="did you mean 'sharper-metric'"):
        open_metric_plugin("sharper-metrc")
    with pytest.raises(UsageError, match="metric 'ssim': every run has this column"):
        open_metric_plugin("ssim")
    with pytest.raises(UsageError, match="did you mean 'sharper-dataset'"):
        open_dataset(".", "sharper-datset")


def test_a_module_that_fails_is_named_with_its_reason(at_hand: Path):
    (at_hand.parent / "broken.py").write_text("import no_such_package\n")
    (at_hand.parent / "ends.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(PluginError, match="method 'broken:X'.*No module named 'no_such_package'"):
        get_method("broken:X")
    with pytest.raises(PluginError, match="method 'ends:X'.*SystemExit: 3"):
        get_method("ends:X")
    with pytest.raises(PluginError, match="no module 'nowhere', neither installed nor in"):
        get_method("nowhere:X")
    assert get_method("bicubic").fits(16)


def test_a_worker_says_what_it_lacks(at_hand: Path):
    source = load_plugin("method", "at_hand:Blue").source
    check_installed([source])
    at_hand.write_text(MODULE + "\n")
    load_plugin.cache_clear()
    with pytest.raises(PluginError, match="has another method 'at_hand:Blue' of package at_hand"):
        check_installed([source])
    at_hand.unlink()
    sys.modules.pop("at_hand")
    load_plugin.cache_clear()
    with pytest.raises(
        PluginError, match="lacks method 'at_hand:Blue' of package at_hand .*install it there"
    ):
        check_installed([source])
