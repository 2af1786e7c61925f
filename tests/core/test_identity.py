"""What a run is told by: its data, its configuration, its weights and the stages that computed it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from facepipe.bench import driver, identity, run_folder
from facepipe.bench.config import make_config
from facepipe.core.errors import RunConflictError
from facepipe.datasets.photos import PhotosDataset

SMALL = {"limit": 2, "low_px": "32", "methods": "nearest"}


def test_a_run_of_other_stages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = make_config({"out": tmp_path / "run", **SMALL})
    driver.prepare(config)
    driver.prepare(config)
    monkeypatch.setattr(identity, "REVISION", identity.REVISION + 1)
    with pytest.raises(RunConflictError, match="computes some figures differently.*choose another --out"):
        driver.prepare(config)
    monkeypatch.undo()
    store = driver.prepare(config)
    run = store.read_run()
    del run["identity"]["revision"]  # as runs were that had none
    store.write_run(run)
    with pytest.raises(RunConflictError, match="computes some figures differently"):
        driver.prepare(config)


def test_a_run_says_how_nme_icp_was_aligned(tmp_path: Path) -> None:
    store = driver.prepare(make_config({"out": tmp_path / "run", **SMALL}))
    assert store.read_run()["alignment"] == {
        "method": "damped point-to-plane ICP",
        "points": [500, 2000],
        "steps": 30,
        "tolerance": 0.05,
    }


def test_true_meshes_and_volumes_take_disk(tmp_path: Path) -> None:
    spec = run_folder.describe(make_config({"out": tmp_path / "run", **SMALL}))
    without = replace(spec, dataset=PhotosDataset(tmp_path)).bytes_per_sample()
    topology = spec.dataset.topology()
    assert topology is not None
    # Coordinates of 12 bytes are hardly compressible; of 128 x 128 x 200 bytes of two values little is left.
    truth = spec.bytes_per_sample() - without
    assert truth == pytest.approx(0.9 * 12 * topology.n_vertices + 0.0085 * 128 * 128 * 200)
    images_only = replace(spec, regressors={})
    assert images_only.bytes_per_sample() == pytest.approx((128**2 * 2 + 32**2) * 2.6)
