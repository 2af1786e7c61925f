"""`facepipe data inspect`: counts by hand, problems named, every image decoded once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from published import Face, write_300w_lp, write_sample

from facepipe.cli.data import data
from facepipe.core.errors import FacepipeError
from facepipe.datasets import fitted
from facepipe.datasets.catalog import open_dataset
from facepipe.datasets.inspection import as_text, inspect_dataset


@pytest.fixture
def lp(tmp_path: Path) -> Path:
    """13 images: one without .mat, one with NaN; and a .mat without image."""
    root = tmp_path / "300W_LP"
    write_300w_lp(root)
    (root / "AFW" / "AFW_134212_1_0.mat").unlink()
    write_sample(root / "IBUG" / "IBUG_image_003_1_0", Face(yaw_rad=1.3), Pose_Para=np.full((1, 7), np.nan))
    (root / "AFW_Flip" / "AFW_134213_1_1.jpg").unlink()
    return root


def test_counts_and_problems(lp: Path) -> None:
    dataset = open_dataset(lp)
    steps: list[int] = []
    found = inspect_dataset(dataset, dataset.refs(), 2, steps.append)
    assert sum(steps) == found.images == 12
    assert found.sound == 10
    assert {name: (c.images, c.sound) for name, c in found.subsets.items()} == {
        "AFW": (6, 5), "AFW_Flip": (5, 5), "IBUG": (1, 0),
    }  # fmt: skip
    assert found.subsets["AFW"].yaw == Counter({"0-30": 2, "30-60": 3})
    assert found.subsets["AFW"].truth == Counter({"landmarks2d": 5})
    assert {reason: problem.count for reason, problem in found.problems.items()} == {
        "missing-mat": 1, "mat-not-finite": 1,
    }  # fmt: skip
    assert "AFW_134212_1_0.mat" in found.problems["missing-mat"].example
    assert found.unpaired == ["AFW_Flip/AFW_134213_1_1.mat"]
    text = as_text(found)
    for expected in ("12 images, 10 usable", "mat-without-image", "IBUG_image_003_1_0.mat", "note: no Basel"):
        assert expected in text


def test_every_image_is_decoded_once(lp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[str] = Counter()
    original = fitted.decode_image

    def counting(bytes_: bytes, name: str) -> np.ndarray:
        decoded[name] += 1
        return original(bytes_, name)

    monkeypatch.setattr(fitted, "decode_image", counting)
    dataset = open_dataset(lp)
    inspect_dataset(dataset, dataset.refs(), 2)
    assert decoded
    assert set(decoded.values()) == {1}


def test_the_command(lp: Path) -> None:
    result = CliRunner().invoke(data, ["inspect", str(lp), "--subsets", "AFW"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "300w-lp, 6 images, 5 usable" in result.stdout
    printed = CliRunner().invoke(data, ["inspect", str(lp), "--json"], catch_exceptions=False).stdout
    assert json.loads(printed)["problems"]["missing-mat"]["count"] == 1


def test_nothing_usable_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("text")
    with pytest.raises(FacepipeError, match="none of the 1 images"):
        CliRunner().invoke(data, ["inspect", str(tmp_path)], catch_exceptions=False)
