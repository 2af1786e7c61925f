"""`facepipe bench` as a user runs it: whole, interrupted, misused, on bad photos."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from checkpoints import compact, save
from PIL import Image

from facepipe.bench.run_store import RunStore
from facepipe.cli import main
from facepipe.core.errors import WeightsError
from facepipe.core.schema import FAILURES, SAMPLES, SCORES
from facepipe.geometry.volume import front_depth
from facepipe.imaging.degrade import degrade
from facepipe.metrics.image import psnr_db, ssim
from facepipe.models.superres.methods import get_method
from facepipe.models.superres.spandrel_import import import_spandrel
from facepipe.models.vrn.regressors import get_regressor

COMMAND = [sys.executable, "-m", "facepipe"]


def facepipe(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=800, env=dict(os.environ)
    )


def at_once(*arguments: object) -> subprocess.CompletedProcess[str]:
    """As `facepipe`, in this process: for what starts no other."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        monkeypatch.setattr(sys, "argv", ["facepipe", *map(str, arguments)])
        try:
            main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return subprocess.CompletedProcess(arguments, ended.value.code, out.getvalue(), err.getvalue())


def bench(*arguments: object) -> subprocess.CompletedProcess[str]:
    done = facepipe("bench", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def scores(run: Path) -> pa.Table:
    return pq.read_table(run / "scores.parquet").drop_columns(["seconds"])


SMALL = ("--dataset", "sample", "--limit", 6, "--low-px", "16,64", "--methods", "bilinear,espcn")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("bench") / "run"
    bench(*SMALL, "--out", run, "--shard-size", 4, "--workers", 2)
    return run


class TestWhole:
    def test_tables_have_their_columns(self, small_run: Path) -> None:
        assert pq.read_schema(small_run / "scores.parquet").equals(SCORES)
        assert pq.read_schema(small_run / "samples.parquet").equals(SAMPLES)
        assert pq.read_schema(small_run / "failures.parquet").equals(FAILURES)
        # Four restored conditions and the reference, for six faces.
        assert scores(small_run).num_rows == 5 * 6

    def test_the_reference_is_its_own_reference(self, small_run: Path) -> None:
        rows = [row for row in scores(small_run).to_pylist() if row["method"] == "reference"]
        assert len(rows) == 6
        for row in rows:
            assert (row["degradation"], row["low_px"], row["psnr_db"], row["ssim"]) == (
                "none",
                128,
                None,
                1.0,
            )
            assert (row["ref_iou"], row["ref_depth_rmse_px"]) == (1.0, 0.0)

    def test_more_resolution_is_better(self, small_run: Path) -> None:
        rows = scores(small_run).to_pylist()

        def mean(column: str, low_px: int) -> float:
            return float(np.mean([row[column] for row in rows if row["low_px"] == low_px]))

        for column in ("psnr_db", "ssim", "ref_iou"):
            assert mean(column, 64) > mean(column, 16), column
        assert mean("ref_depth_rmse_px", 64) < mean("ref_depth_rmse_px", 16)

    def test_the_shipped_regressor_finds_the_faces(self, small_run: Path) -> None:
        iou = [row["iou"] for row in scores(small_run).to_pylist() if row["method"] == "reference"]
        assert np.mean(iou) > 0.6

    def test_volumes_can_be_read_by_their_attributes(self, small_run: Path) -> None:
        store = RunStore(small_run)
        name = "volumes/none-128/reference/vrn-compact"
        geometry = get_regressor("vrn-compact").geometry
        assert store.attributes(name) == {"spacing": list(geometry.spacing), "z_zero": geometry.z_zero}
        volume = store.read(name, 0, 1)[0]
        assert volume.shape == (200, 128, 128)
        depth = front_depth(volume, geometry)
        rows, columns = np.nonzero(np.isfinite(depth))
        # The face lies in the middle of the picture and its surface bulges toward the camera.
        assert 40 < rows.mean() < 90
        assert 40 < columns.mean() < 90
        edge = np.nanpercentile(depth, 5)
        assert np.nanmax(depth) - edge > 10

    def test_run_json_says_where_everything_came_from(self, small_run: Path) -> None:
        run = json.loads((small_run / "run.json").read_text())
        assert run["status"] == "complete"
        assert {"config", "versions", "run_id", "data", "identity", "counts"} <= run.keys()
        assert set(run["identity"]["weights"]) >= {"espcn@16", "espcn@64", "vrn-compact"}
        assert run["run_id"] == scores(small_run)["run_id"][0].as_py()

    def test_nothing_temporary_is_left(self, small_run: Path) -> None:
        names = {path.name for path in small_run.iterdir()}
        tables = {f"{name}.parquet" for name in ("samples", "failures", "scores", "units")}
        tables.add("run.json")
        assert names == tables | {"store.zarr", "report", ".lock"}
        assert not [path for path in small_run.rglob("*") if path.name.endswith((".tmp", ".partial"))]


class TestResume:
    @pytest.mark.slow
    def test_kill_the_driver_anywhere(self, small_run: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        command = [
            *COMMAND,
            "bench",
            *map(str, SMALL),
            "--out",
            str(run),
            "--shard-size",
            "1",
            "--workers",
            "1",
        ]
        kills = 0
        for stage in ("ingest", "restore", "score"):
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
                while driver.poll() is None:
                    if len(list((run / "unit_results" / stage).rglob("unit-*.parquet"))) >= 2:
                        driver.send_signal(signal.SIGKILL)
                        kills += 1
                        break
                    time.sleep(0.01)
        assert kills == 3
        assert "interrupted" in at_once("status", run).stdout
        done = {path: path.stat().st_mtime_ns for path in (run / "unit_results").rglob("unit-*.parquet")}
        assert done
        bench(*SMALL, "--out", run, "--shard-size", 1, "--workers", 2)
        assert scores(run).equals(scores(small_run))

    def test_another_configuration_is_refused_by_name(self, small_run: Path) -> None:
        before = (small_run / "run.json").read_bytes()
        done = at_once("bench", *SMALL[:-1], "bilinear", "--out", small_run, "--shard-size", 4)
        assert done.returncode == 2
        assert 'methods: ["bilinear", "espcn"] -> ["bilinear"]' in done.stderr
        assert "Traceback" not in done.stderr
        assert (small_run / "run.json").read_bytes() == before

    def test_the_same_command_again_prints_the_table_again(self, small_run: Path) -> None:
        before = (small_run / "scores.parquet").stat().st_mtime_ns
        done = at_once("bench", *SMALL, "--out", small_run, "--shard-size", 4)
        assert done.returncode == 0, done.stderr
        assert "espcn" in done.stdout
        assert (small_run / "scores.parquet").stat().st_mtime_ns == before


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two good photos among everything that people call a photo."""
    folder = tmp_path / "photos"
    (folder / "näch ste").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    image = Image.fromarray(pixels)
    image.save(folder / "good.jpg")
    image.save(folder / "näch ste" / "also good.webp")
    image.save(folder / "good.png")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("I am not a photo")
    (folder / "half.jpg").write_bytes((folder / "good.jpg").read_bytes()[:2000])
    (folder / "ignored.txt").write_text("not even named like one")
    Image.new("RGB", (300, 300)).save(folder / "black.png")
    image.resize((90, 120)).save(folder / "small.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/na\xffme.jpg")).write_bytes((folder / "good.jpg").read_bytes())
    return folder


FAST = ("--methods", "bilinear", "--low-px", 32, "--regressors", "none", "--workers", 1)


class TestBadInput:
    def test_each_bad_photo_has_a_reason_and_the_rest_is_scored(self, photos: Path, tmp_path: Path) -> None:
        done = bench("--dataset", photos, "--out", tmp_path / "run", *FAST)
        failures = pq.read_table(tmp_path / "run" / "failures.parquet").to_pylist()
        reasons = sorted((row["sample_id"], row["reason"]) for row in failures)
        assert reasons == [
            ("black", "blank-image"),
            ("empty", "empty-file"),
            ("good", "duplicate-id"),
            ("half", "truncated-image"),
            ("na\\udcffme", "unreadable-name"),
            ("small", "small-image"),
            ("text", "not-an-image"),
        ]
        assert sorted(scores(tmp_path / "run")["sample_id"].to_pylist()) == ["good", "näch ste/also good"]
        assert "quarantined" in done.stdout
        samples = pq.read_table(tmp_path / "run" / "samples.parquet").to_pylist()
        assert [(row["crop_x0"], row["crop_y0"], row["crop_size"]) for row in samples] == [(-20, 0, 160)] * 2

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--dataset", "nowhere"), "nowhere: no such folder"),
            (("--methods", "bilinaer"), "did you mean 'bilinear'"),
            (("--regressors", "vrn-compakt"), "did you mean 'vrn-compact'"),
            (("--degradations", "aria"), "did you mean 'area'"),
            (("--kind", "photo"), "did you mean 'photos'"),
            (("--low-px", "128"), "128 px is not a low resolution"),
            (("--methods", "espcn", "--low-px", "24"), "espcn"),
            (("--degradation", "area"), "--degradations"),
            (("--limit", "0"), "limit"),
            (("--config", "missing.yaml"), "missing.yaml"),
            (("--cluster", "somewhere"), "tcp://"),
            (("--cluster", "slrum", "--dry-run"), "cluster 'slrum': expected"),
            (("--cluster", "slurm", "--dry-run"), "--cluster-config"),
            (("--dataset", "sample", "--kind", "photos"), "--kind photos with --dataset sample"),
            (("--disk-gb", "inf"), "--disk-gb: expected a finite number"),
        ],
    )
    def test_wrong_usage_is_said_before_anything_starts(
        self, arguments: tuple[str, ...], message: str, tmp_path: Path
    ) -> None:
        done = at_once("bench", "--out", tmp_path / "run", *arguments)
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run" / "scores.parquet").exists()

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        done = at_once("bench", "--dataset", tmp_path / "empty", "--out", tmp_path / "run")
        assert done.returncode == 2
        assert "empty" in done.stderr
        assert not (tmp_path / "run").exists()

    def test_only_bad_photos(self, tmp_path: Path) -> None:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "a.jpg").write_text("no")
        done = facepipe("bench", "--dataset", tmp_path / "bad", "--out", tmp_path / "run", *FAST)
        assert done.returncode == 1
        assert "none of 1 images is usable (not-an-image)" in done.stderr
        assert pq.read_table(tmp_path / "run" / "failures.parquet")["reason"].to_pylist() == ["not-an-image"]

    def test_an_unknown_key_in_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "run.yaml").write_text("method: bilinear\n")
        done = at_once("bench", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run")
        assert done.returncode == 2
        assert "did you mean 'methods'" in done.stderr

    @pytest.mark.parametrize("command", ["status", "clean", "report", "query"])
    def test_a_folder_that_is_no_run(self, command: str, tmp_path: Path) -> None:
        extra = ["select 1"] if command == "query" else []
        done = at_once(command, tmp_path, *extra)
        assert done.returncode == 2
        assert "run.json" in done.stderr
        assert "Traceback" not in done.stderr

    def test_a_folder_of_something_else_is_not_filled(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("important")
        done = at_once("bench", "--out", tmp_path, *FAST)
        assert done.returncode == 2
        assert "not empty" in done.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_refused_command_leaves_folders_as_they_were(self, tmp_path: Path) -> None:
        (tmp_path / "mine").mkdir()
        assert at_once("bench", "--out", tmp_path / "mine", "--methods", "foo").returncode == 2
        assert list((tmp_path / "mine").iterdir()) == []
        (tmp_path / "file").touch()
        for out in (tmp_path / "file", tmp_path / "file" / "below", ""):
            done = at_once("bench", "--out", out, *FAST)
            assert done.returncode == 2, done.stderr
            assert "out" in done.stderr


class TestOtherCommands:
    def test_dry_run_starts_nothing(self, tmp_path: Path) -> None:
        done = at_once("bench", "--out", tmp_path / "run", "--dry-run", "--limit", 10)
        assert done.returncode == 0, done.stderr
        assert "10 images" in done.stdout
        assert "GB" in done.stdout
        assert not (tmp_path / "run").exists()

    def test_a_disk_budget_that_is_too_small(self, tmp_path: Path) -> None:
        done = at_once("bench", "--out", tmp_path / "run", "--dry-run", "--disk-gb", "0.001")
        assert done.returncode == 2
        assert "--keep scores" in done.stderr

    def test_status_and_clean(self, photos: Path, tmp_path: Path) -> None:
        run = tmp_path / "run"
        bench("--dataset", photos, "--out", run, *FAST)
        assert "complete" in at_once("status", run).stdout
        assert at_once("clean", run).returncode == 0
        assert not (run / "store.zarr").exists()
        assert (run / "scores.parquet").exists()

    def test_help_is_fast_and_needs_no_torch(self) -> None:
        code = (
            "import sys; from facepipe.cli import facepipe; facepipe.main(['--help'], standalone_mode=False)"
        )
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                f"{code}\nassert not {{'torch', 'distributed', 'zarr'}} & set(sys.modules)",
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "bench" in done.stdout


PUBLISHED_2019 = {
    # low_px -> method -> (PSNR dB, SSIM) of the three photos that are at hand
    32: {
        "bilinear": [(25.086, 0.755), (23.402, 0.740), (24.437, 0.700)],
        "bicubic": [(24.673, 0.747), (23.017, 0.727), (23.999, 0.696)],
        "espcn-2019": [(23.972, 0.737), (22.225, 0.688), (22.811, 0.661)],
    },
    64: {
        "bilinear": [(29.693, 0.896), (27.891, 0.894), (29.232, 0.883)],
        "bicubic": [(29.374, 0.894), (27.466, 0.886), (29.020, 0.888)],
        "espcn-2019": [(28.619, 0.883), (25.789, 0.865), (28.039, 0.873)],
    },
}


def test_a_network_that_only_spandrel_knows_runs_on_workers(tmp_path: Path) -> None:
    """From its checkpoint to the table: the run's figures are those of the network itself."""
    try:
        import_spandrel()
    except WeightsError as error:
        pytest.skip(str(error))
    checkpoint = save({"params_ema": compact(3)}, tmp_path / "theirs.pth")
    done = at_once("models", "import", checkpoint, "--as", "theirs-x3")
    assert done.returncode == 0, done.stderr
    y, x = np.mgrid[:128, :128]
    image = np.stack([x + y, 2 * np.abs(x - 64), 255 - y], -1).astype(np.uint8)
    (tmp_path / "photos").mkdir()
    Image.fromarray(image).save(tmp_path / "photos" / "a.png")
    photos = ("--dataset", tmp_path / "photos", "--kind", "photos", "--crop", "full", "--low-px", "32")
    bench(*photos, "--methods", "bilinear,theirs", "--regressors", "none", "--out", tmp_path / "run")
    (row,) = (row for row in scores(tmp_path / "run").to_pylist() if row["method"] == "theirs")
    restored = get_method("theirs").build(32)(degrade(image, "area", 32, 0, row["sample_id"])[None])[0]
    assert row["psnr_db"] == pytest.approx(psnr_db(image, restored))
    assert row["ssim"] == pytest.approx(ssim(image, restored))


def test_the_2019_table_is_reproduced(real_data: Path, tmp_path: Path) -> None:
    for scale, file in (
        ("x4", "super_res_model_epoch_300_32.pth"),
        ("x2", "super_res_model_epoch_500_64.pth"),
    ):
        done = facepipe("models", "import", real_data / "espcn_2019" / file, "--as", f"espcn-2019-{scale}")
        assert done.returncode == 0, done.stderr
    bench(
        *(
            "--dataset",
            real_data / "afw",
            "--kind",
            "photos",
            "--degradations",
            "linear",
            "--low-px",
            "32,64",
        ),
        *("--methods", "bilinear,bicubic,espcn-2019", "--regressors", "none", "--out", tmp_path / "run"),
    )
    rows = scores(tmp_path / "run").to_pylist()
    assert len(rows) == 18
    for low_px, methods in PUBLISHED_2019.items():
        for method, expected in methods.items():
            found = [row for row in rows if row["low_px"] == low_px and row["method"] == method]
            found.sort(key=lambda row: row["sample_id"])
            assert [(round(row["psnr_db"], 3), round(row["ssim"], 3)) for row in found] == expected


def dask(*arguments: object) -> subprocess.Popen[bytes]:
    tool = str(Path(sys.executable).with_name("dask"))
    return subprocess.Popen(
        [tool, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def test_a_scheduler_of_ones_own_with_a_gpu_worker(small_run: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    worker = ("worker", address, "--nthreads", 1, "--no-dashboard", "--local-directory", tmp_path)
    processes = [dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")]
    try:
        processes += [dask(*worker), dask(*worker, "--resources", "GPU=1")]
        bench(*SMALL, "--out", tmp_path / "run", "--cluster", address)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["networks_on"] == "GPU workers"
    assert scores(tmp_path / "run").equals(scores(small_run))
