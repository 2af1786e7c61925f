"""What scoring compares with is read once for all conditions, and again when it has changed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facepipe.bench.run_store import RunStore
from facepipe.bench.shard_truth import shard_truth
from facepipe.bench.spec import Condition
from facepipe.core.conventions import VolumeGeometry

GEOMETRY = VolumeGeometry(size=8, depth=4, spacing=(1.0, 1.0, 1.0), z_zero=2.0)
REFERENCE = Condition("none", 128, "reference", "box")
SPAN = (4, 7)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path)
    arrays = {
        "reference": np.full((7, 128, 128, 3), 9, np.uint8),
        "truth/landmarks": np.full((7, 68, 3), np.nan, np.float32),
        REFERENCE.volume: np.zeros((7, *GEOMETRY.shape), np.uint8),
    }
    arrays[REFERENCE.volume][5, 1:3, 2:6, 2:6] = 255
    for name, values in arrays.items():
        store.write_whole(name, values, 4)
    return store


@pytest.fixture
def spec() -> SimpleNamespace:
    return SimpleNamespace(
        regressors={"box": GEOMETRY}, shard_size=4, dataset=SimpleNamespace(topology=lambda: None)
    )


def test_a_sample_is_read_once_for_all_conditions(store, spec, monkeypatch) -> None:
    read: list[tuple[str, int]] = []
    plain = RunStore.read
    monkeypatch.setattr(
        RunStore, "read", lambda s, name, a, b: read.append((name, a)) or plain(s, name, a, b)
    )
    for _ in range(3):
        known = shard_truth(spec, store, REFERENCE, SPAN)
        reference, true = known.face(1, "none")
        assert known.images.shape == (3, 128, 128, 3) and true.landmarks is None
        assert np.isfinite(reference.depth).sum() == 16
    assert read == [("reference", 4), (REFERENCE.volume, 5)]


def test_what_was_made_again_is_read_again(store, spec) -> None:
    before = shard_truth(spec, store, REFERENCE, SPAN)
    assert shard_truth(spec, store, REFERENCE, SPAN) is before
    assert before.face(0, "none")[0].is_empty
    store.write_shard(REFERENCE.volume, 1, np.full((3, *GEOMETRY.shape), 255, np.uint8))
    after = shard_truth(spec, store, REFERENCE, SPAN)
    assert after is not before and not after.face(0, "none")[0].is_empty
