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


def test_turned_versions_with_the_landmarks_of_the_original(tmp_path: Path) -> None:
    """As in a copy of 300W-LP that is about: every version has the landmarks of the photo."""
    root = tmp_path / "300W_LP" / "IBUG"
    yaws_deg = (70, 30, 1, -50)
    original = write_sample(root / "IBUG_image_011_1_0", Face(yaw_rad=np.radians(70)))
    for number, yaw_deg in enumerate(yaws_deg[1:], 1):
        face = Face(yaw_rad=np.radians(yaw_deg))
        write_sample(root / f"IBUG_image_011_1_{number}", face, pt2d=original["pt2d"])
    found = inspect_dataset(open_dataset(root.parent), open_dataset(root.parent).refs(), 1)
    assert found.sound == 1
    assert found.problems["landmarks-not-of-pose"].count == 3
    assert "a yaw of 30 degrees" in found.problems["landmarks-not-of-pose"].example

    write_sample(root / "IBUG_image_012_1_0", Face(yaw_rad=np.radians(60)), pt2d=original["pt2d"])
    found = inspect_dataset(open_dataset(root.parent), open_dataset(root.parent).refs(), 1)
    assert found.problems["landmarks-copied"].count == 1
    assert "IBUG_image_012_1_0" in found.problems["landmarks-copied"].example

    for number, yaw_deg in enumerate(yaws_deg):
        write_sample(root / f"IBUG_image_011_1_{number}", Face(yaw_rad=np.radians(yaw_deg)))
    sound = inspect_dataset(open_dataset(root.parent), open_dataset(root.parent).refs()[:4], 1)
    assert sound.problems == {}


def test_landmarks_at_minus_one_are_missing(tmp_path: Path) -> None:
    points = Face().variables(np.random.default_rng(0))["pt2d"]
    points[:, 5] = -1
    write_sample(tmp_path / "300W_LP/AFW/AFW_1_1_0", Face(), pt2d=points)
    dataset = open_dataset(tmp_path / "300W_LP")
    (sample,) = map(dataset.load, dataset.refs())
    assert sample.truth.kind == "none"
    assert sample.truth.landmarks is None
