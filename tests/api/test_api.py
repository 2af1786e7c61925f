"""`import facepipe as fp` as a researcher uses it."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import facepipe as fp
from facepipe.api.work import bench, reconstruct, surveil
from facepipe.core.errors import UsageError

SAMPLE = Path(fp.__file__).parent / "data" / "sample" / "face-00.jpg"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> fp.Run:
    out = tmp_path_factory.mktemp("runs") / "x"
    return fp.bench("sample", out, limit=2, methods=["bilinear", "bicubic"], low_px=[16], workers=1)


def test_importing_loads_no_network_library_and_little_else():
    code = (
        "import sys, json; before = set(sys.modules); import facepipe as fp; dir(fp)\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"torch", "numpy", "pyarrow", "distributed", "prefect", "cv2", "click"}


def test_every_name_is_there_and_described():
    for name in fp.__all__:
        assert getattr(fp, name) is not None, name
    for function in (bench, reconstruct, surveil, fp.open_run, fp.load_method, fp.load_metric):
        assert inspect.getdoc(function) and inspect.signature(function).return_annotation
    assert files("facepipe").joinpath("py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'benhc'"):
        fp.benhc  # noqa: B018


@pytest.mark.parametrize("name", ["bench", "reconstruct", "surveil"])
def test_rooms_are_called_and_imported(name: str):
    assert callable(getattr(fp, name))
    assert importlib.import_module(f"facepipe.{name}") is getattr(fp, name)


def test_a_face_has_a_mesh_a_volume_and_a_crop():
    (face,) = fp.reconstruct(SAMPLE, crop="full")
    assert face.volume.shape == face.geometry.shape and face.volume.dtype == np.uint8
    assert face.crop.shape == (450, 450, 3)
    assert face.mesh.is_watertight and face.mesh.visual.vertex_colors.shape == (len(face.mesh.vertices), 4)
    assert np.abs(face.mesh.bounds[:, :2]).max() <= 0.5
    assert np.isfinite(face.depth_px).any()
    with pytest.raises(UsageError, match="did you mean 'vrn-compact'"):
        fp.reconstruct(SAMPLE, regressor="vrn-compat")


def test_a_run_gives_its_tables_and_arrays(run: fp.Run):
    assert run.scores.num_rows == 2 * 3
    assert set(run.scores["method"].to_pylist()) == {"reference", "bilinear", "bicubic"}
    assert run.query("select count(*) as n from scores")["n"].to_pylist() == [6]
    opened = fp.open_run(run.path)
    low = opened.lowres("face-00", low_px=16)
    restored = opened.restored("face-00", method="bicubic", low_px=16)
    np.testing.assert_array_equal(fp.load_method("bicubic")(low), restored)
    volume = opened.volume("face-00", method="bicubic", low_px=16)
    np.testing.assert_array_equal(fp.load_regressor("vrn-compact")(restored), volume)
    assert opened.depth_px("face-00").shape == (128, 128)
    row = run.query("select * from scores where sample_id = 'face-00' and method = 'bicubic'").to_pylist()[0]
    reference = opened.reference("face-00")
    assert fp.load_metric("psnr_db")(reference=reference, restored=restored) == row["psnr_db"]
    whole = opened.volume("face-00")
    geometry = opened.geometry()
    iou = fp.load_metric("ref_iou")(
        reference=reference, restored=restored, volume=volume, reference_volume=whole, geometry=geometry,
        truth=fp.Truth(),
    )  # fmt: skip
    assert iou == row["ref_iou"]
    assert "regressor vrn-compact" in str(run)
    assert fp.bench("sample", run.path, limit=2, methods="bilinear,bicubic", low_px=16) == run
    assert run.metrics["psnr_db"].unit == "dB"


def test_wrong_names_are_named(run: fp.Run, tmp_path: Path):
    for trouble, call in (
        ("unknown sample 'face-0' .did you mean 'face-0", lambda: run.reference("face-0")),
        ("did you mean 'bicubic'", lambda: run.restored("face-00", method="bicubci", low_px=16)),
        ("unknown low_px '32'", lambda: run.lowres("face-00", low_px=32)),
        ("bench: unknown key 'methds'", lambda: fp.bench(methds=["x"])),
        ("did you mean 'ssim'", lambda: fp.load_metric("ssm")),
        ("metric 'iou' needs dense", lambda: fp.load_metric("iou")(reference=None, restored=None)),
        ("no archive here", lambda: fp.open_archive(tmp_path)),
        ("is no file", lambda: fp.load_method("file:nothing.pth")),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=trouble):
            call()
