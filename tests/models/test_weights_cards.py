"""What people read about weights: cards and lists."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from facepipe.cli.models import models
from facepipe.core.errors import UsageError
from facepipe.models.weights import (
    CURVE,
    FITTED_HEAD,
    TRUTH_ITSELF,
    WeightsFile,
    WeightsInfo,
    count_parameters,
    list_text,
    listed,
    model_card,
    save_weights,
    sparkline,
    telling_figures,
)
from facepipe.models.weights.figures import figure_tables

TENSORS = {
    "conv.weight": np.zeros((4, 3, 3, 3), np.float32),
    "conv.bias": np.zeros(4, np.float32),
    "norm.running_mean": np.zeros(4, np.float32),
    "norm.num_batches_tracked": np.zeros((), np.int64),
}
FIGURES = {
    "Toys, yaw to either side from 60": {"iou": "0.7 (0.6 to 0.8)", "images": "3"},
    "Toys, yaw to either side below 30": {"iou": "0.9 (0.8 to 1.0)", "images": "5"},
    "Toys, yaw to either side 30 to 60": {"iou": "0.8 (0.7 to 0.9)", "images": "4"},
    "Toys, all": {"iou": "0.85 (0.8 to 0.9)", "landmark_depth_error": "0.05 (0.04 to 0.06)", "images": "12"},
    "Toys, truth itself, all": {"landmark_depth_error": "0.04 (0.03 to 0.05)", "images": "12"},
    "9 photos, all": {"landmark_depth_error": "0.061 (0.05 to 0.07)", "images": "9"},
    "Toys, area 32 px, bilinear": {"iou": "0.8 (0.7 to 0.9)"},
    "Toys, area 16 px, bilinear": {"iou": "0.6 (0.5 to 0.7)"},
    "Toys, skin tone below 0.33": {"iou": "0.8 (0.7 to 0.9)"},
    "oddness": 0.25,
}


def _save(folder: Path, **fields: object) -> WeightsFile:
    info = WeightsInfo("toy", "regressor", "hourglass", **fields)
    return save_weights(folder / f"{info.name}.safetensors", TENSORS, info)


def _rows(card: str, first: str) -> list[list[str]]:
    lines = [line for line in card.splitlines() if line.startswith(f"| {first}")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_figure_stands_whole_in_a_table_of_its_kind(tmp_path: Path) -> None:
    card = model_card(_save(tmp_path, figures=FIGURES))
    for row in FIGURES.values():
        for figure in row.values() if isinstance(row, dict) else [str(row)]:
            assert f"| {figure} |" in card
    titles = [line.removeprefix("### ") for line in card.splitlines() if line.startswith("### ")]
    assert titles == ["On whole data sets", "By head turn", "By skin tone", "At low resolution"]
    assert [row[1] for row in _rows(card, "Toys | ") if "to" in row[1] or "6" in row[1] or "3" in row[1]] == [
        "below 30", "30 to 60", "from 60", "below 0.33", "area 16 px, bilinear", "area 32 px, bilinear",
    ]  # fmt: skip
    assert _rows(card, "Toys, truth itself") == [["Toys, truth itself", "12", "", "0.04 (0.03 to 0.05)"]]
    assert _rows(card, "data")[0] == ["data", "images", "IoU", "landmark depth error"]
    assert _rows(card, "data")[1] == ["data", "yaw, degrees", "images", "IoU"]
    assert "- IoU: of predicted and true occupancy volume." in card
    assert "PSNR" not in card


def test_rows_have_as_many_cells_as_their_table(tmp_path: Path) -> None:
    card = model_card(_save(tmp_path, figures={**FIGURES, "a | b": {"strange": "x | y", "iou": 0.5}}))
    width = 0
    for before, line in zip(["", *card.splitlines()], card.splitlines(), strict=False):
        if line.startswith("|"):
            cells = line.replace("\\|", "").count("|")
            width = width if before.startswith("|") else cells
            assert cells == width


def test_figures_of_super_resolvers_stand_beside_bicubic(tmp_path: Path) -> None:
    row = {
        "gain_db": "1.2 (1.1 to 1.3)",
        "ssim": "0.8",
        "bicubic_psnr_db": 26.5,
        "psnr_db": 27.7,
        "images": 11,
    }
    card = model_card(_save(tmp_path, figures={"Photos, camera 32 px": row, "Photos, area 32 px": row}))
    headings, *rows = _rows(card, "data")[0], *_rows(card, "Photos")
    assert headings == ["data", "images", "PSNR, dB", "bicubic PSNR, dB", "gain over bicubic, dB", "SSIM"]
    assert rows[0] == ["Photos, area 32 px", "11", "27.7", "26.5", "1.2 (1.1 to 1.3)", "0.8"]
    assert telling_figures({"Photos, area 32 px": row}) == "27.7 dB, bicubic 26.5"


def test_figures_of_earlier_files_stay_in_their_columns() -> None:
    (table,) = figure_tables({"validation_faces": {"faces": 64, "iou": 0.8, "depth_px": 2.5}})
    assert table.keys == ("images", "iou", "depth_rmse_px")
    assert table.rows == ((("validation faces",), {"images": 64, "iou": 0.8, "depth_rmse_px": 2.5}),)


def test_telling_figures_are_of_photos_and_never_of_the_truth() -> None:
    assert telling_figures(FIGURES) == "depth error 0.061, IoU 0.85"
    for perfect in (TRUTH_ITSELF, FITTED_HEAD):
        assert telling_figures({f"Toys, {perfect}, all": {"iou": 1.0}}) == ""
    assert telling_figures({"speed": 3}) == ""


def test_sparkline_by_hand() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0, 3.0]) == "▁▁"
    assert sparkline([0, 0, 7, 7], width=2) == "▁█"
    assert len(sparkline([1.0] * 1000)) == 40
    assert sparkline([2]) == "▁"


def test_a_card_draws_the_losses_and_tells_how_to_run(tmp_path: Path) -> None:
    file = _save(
        tmp_path, training={CURVE: [0.4, 0.2, 0.1], "loss": "entropy"}, usage={"batch_norm": "per-image"}
    )
    card = model_card(file)
    assert "| loss | entropy `█▃▁` 0.4 to 0.1 |" in card
    assert "| Run with | batch norm=per-image |" in card
    assert CURVE not in card


def test_lists_at_every_width(tmp_path: Path) -> None:
    file = _save(tmp_path, figures=FIGURES, licence="CC0-1.0, and a sentence about what else is to be known")
    one = listed(file)
    assert count_parameters(file) == one.parameters == 4 * 3 * 9 + 4
    wide = list_text([one])
    assert wide.splitlines()[1].split()[:5] == ["toy", "regressor", "hourglass", "-", "112"]
    for width in (40, 80):
        narrow = list_text([one, replace(one, name="other", scale=4)], width)
        assert max(map(len, narrow.splitlines())) <= width
        for part in (
            "toy",
            "x4",
            "112 parameters",
            "CC0-1.0",
            "imported",
            file.sha256[:12],
            "depth error 0.061",
        ):
            assert part in narrow
    assert list_text([one], 1000) == wide


def test_list_and_show_commands(facepipe_home: Path) -> None:
    folder = facepipe_home / "weights"
    folder.mkdir(parents=True)
    file = _save(folder, figures=FIGURES)
    found = json.loads(CliRunner().invoke(models, ["list", "--json"], catch_exceptions=False).stdout)
    (mine,) = [one for one in found if one["name"] == "toy"]
    assert mine["sha256"] == file.sha256
    assert (mine["origin"], mine["parameters"], mine["scale"]) == ("imported", 112, None)
    assert any(one["origin"] == "shipped" for one in found)
    for name in ("toy", str(file.path)):
        assert CliRunner().invoke(models, ["show", name]).output == model_card(file)
    assert not file.path.with_suffix(".md").exists()
    CliRunner().invoke(models, ["show", "toy", "--write"])
    assert file.path.with_suffix(".md").read_text(encoding="utf-8") == model_card(file)
    with pytest.raises(UsageError, match="did you mean 'toy'"):
        CliRunner().invoke(models, ["show", "tooy"], catch_exceptions=False)
