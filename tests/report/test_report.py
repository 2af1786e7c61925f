"""The report page: right about the table, safe with any name, whole without a network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pytest
import trimesh
from click.testing import CliRunner
from PIL import Image

from facepipe.bench import driver
from facepipe.bench.config import make_config
from facepipe.bench.run_store import RunStore
from facepipe.bench.spec import STAGES
from facepipe.cli import facepipe
from facepipe.core.conventions import VolumeGeometry
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.schema import SCORES
from facepipe.core.tables import read_table, write_table
from facepipe.datasets.catalog import open_dataset
from facepipe.geometry.volume import surface
from facepipe.metrics.catalogue import METRICS
from facepipe.pipeline.cluster import open_cluster
from facepipe.report.answer import deciding_metric, headline, verdicts
from facepipe.report.charts import resolution_chart, scatter_chart
from facepipe.report.gallery import rank_samples
from facepipe.report.meshes import STEPS_PER_PX, Z_OFFSET_PX, light_mesh, pack
from facepipe.report.page import write_report
from facepipe.report.pictures import depth_uri
from facepipe.report.style import method_styles, number
from facepipe.results.aggregate import aggregate

HOSTILE = "<img src=x onerror=window.pwned=1>"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with open_cluster("local", 1) as address:
        yield address


def run_bench(address: str, out: Path, **options: object) -> RunStore:
    store = driver.prepare(make_config({"out": out, "shard_size": 4, **options}))
    driver.run_ingest(store, address)
    for shards in driver.shard_batches(store):
        for stage in STAGES[1:]:
            driver.run_stage(store, stage, shards, address)
    driver.finish(store)
    return store


WHOLE = {"dataset": "sample", "limit": 3, "low_px": "16,64", "methods": "bilinear,bicubic"}


@pytest.fixture(scope="module")
def whole(address, tmp_path_factory) -> RunStore:
    """Three shipped faces through the shipped network."""
    store = run_bench(address, tmp_path_factory.mktemp("whole") / "run", **WHOLE)
    write_report(store.path)
    return store


@pytest.fixture(scope="module")
def hostile(address, tmp_path_factory) -> RunStore:
    """Photos and failures whose names are HTML, images only."""
    folder = tmp_path_factory.mktemp("hostile")
    dataset = open_dataset("sample", "auto")
    photos = folder / "photos" / "<"
    photos.mkdir(parents=True)
    for name, ref in zip((f"photos/{HOSTILE}.png", "photos/</script><b>.png"), dataset.refs(), strict=False):
        Image.fromarray(dataset.load(ref).image).save(folder / name)
    (folder / "photos" / f"broken {HOSTILE}.jpg").write_text("no image")
    options = {"dataset": str(folder / "photos"), "regressors": "none", "methods": "bilinear", "low_px": "16"}
    store = run_bench(address, folder / "run", **options)
    write_report(store.path)
    return store


class Page(HTMLParser):
    """What a browser makes of a page: tags with attributes, text, contents of scripts."""

    def __init__(self, store: RunStore) -> None:
        super().__init__()
        self.html = (store.report_path / "index.html").read_text()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self._in: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in.append(tag)

    def handle_endtag(self, tag):
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data):
        if self._in and self._in[-1] == "script":
            self.scripts.append(data)
        elif not self._in or self._in[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if name in (attributes.get("class") or "").split()]


def decoded(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


class TestWholePage:
    def test_needs_no_network(self, whole):
        page = Page(whole)
        for _, attributes in page.tags:
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "srcset", "data"):
                target = attributes.get(name)
                assert target is None or target.startswith("data:") or target == "meshes/"
        assert "url(" not in page.html and "@import" not in page.html
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        digest = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
        assert policy.startswith("default-src 'none'") and f"script-src 'sha256-{digest}'" in policy
        assert len(page.html) < 6e6

    def test_states_what_the_table_says(self, whole):
        page, scores = Page(whole), read_table(whole.scores_path).to_pylist()
        for low_px in (16, 64):
            means = {
                method: np.mean([r["iou"] for r in scores if (r["low_px"], r["method"]) == (low_px, method)])
                for method in ("bilinear", "bicubic")
            }
            best = max(means, key=means.__getitem__)
            assert f"area, {low_px} px {best} {means[best]:.3f}" in page.text
        kept = [np.mean([r["ref_iou"] for r in scores if r["low_px"] == px]) for px in (16, 64)]
        shares = re.search(r"overlaps (\d+) and (\d+) %", page.text)
        assert shares is not None
        assert all(abs(100 * k - int(s)) < 25 for k, s in zip(kept, shares.groups(), strict=True))
        assert int(shares[1]) < int(shares[2])

    def test_every_condition_is_in_the_table(self, whole):
        rows = Page(whole).html.split("All conditions")[1].split("<tbody>")[1].split("</tbody>")[0]
        assert rows.count("<tr") == 1 + 2 * 2
        assert rows.count("best") >= 2

    def test_gallery_shows_the_arrays(self, whole):
        page = Page(whole)
        assert page.html.count('<article class="face">') == 3
        ids = read_table(whole.samples_path)["sample_id"].to_pylist()
        shown = [
            index for _, index in sorted((page.html.find(f"<small>{name},"), ids.index(name)) for name in ids)
        ]
        low = [decoded(a["src"]) for a in page.with_class("pixels")]
        assert len(low) == 3 * 2
        for i, index in enumerate(shown):
            exact = whole.read("lowres/area-16", index, index + 1)[0]
            assert np.array_equal(np.asarray(low[2 * i].convert("RGB")), exact)
        # Depth of reference, truth and four restored images of every face.
        assert len(page.with_class("depth")) == 3 * 6

    def test_meshes_are_written_and_old_ones_deleted(self, whole):
        folder = whole.report_path / "meshes"
        stale = folder / "face9-0-0_gone.glb"
        stale.write_bytes(b"")
        write_report(whole.path)
        files = sorted(path.name for path in folder.iterdir())
        assert len(files) == 3 * 6 and stale.name not in files
        assert "face1-0-1_area-16_bicubic.glb" in files and "face1-truth_truth.glb" in files
        mesh = trimesh.load(folder / "face1-truth_truth.glb", force="mesh", process=False)
        assert mesh.is_watertight and 0.2 < mesh.extents[1] < 1

    def test_provenance(self, whole):
        text, run = Page(whole).text, whole.read_run()
        for fact in (run["run_id"], run["versions"]["numpy"], run["identity"]["weights"]["vrn-compact"]):
            assert fact in text

    @pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
    def test_the_viewer_draws_in_a_browser(self, whole, tmp_path):
        flags = "--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --use-gl=angle"
        flags += " --use-angle=swiftshader --disable-background-networking --no-first-run --disable-sync"
        page = (whole.report_path / "index.html").as_uri()
        command = ["chromium", *flags.split(), f"--user-data-dir={tmp_path}", "--virtual-time-budget=8000"]
        done = subprocess.run([*command, "--dump-dom", page], capture_output=True, text=True, timeout=300)
        panels = done.stdout.split('class="panels"')[1].split("</section>")[0]
        # Reference, truth and two methods; drawing gives each canvas the size of its place.
        assert len(re.findall(r'<canvas (?:(?:width|height)="\d+" ?){2}>', panels)) == 4
        assert "cannot draw" not in panels


class TestHostileNames:
    def test_are_text(self, hostile):
        page = Page(hostile)
        assert HOSTILE in page.text and "</script><b>" in page.text
        assert f"broken {HOSTILE}" in page.text and "not-an-image" in page.text
        assert not [tag for tag, attributes in page.tags if tag == "b" and attributes]
        assert all("onerror" not in attributes for _, attributes in page.tags)
        assert all((a.get("src") or "data:").startswith("data:") for tag, a in page.tags if tag == "img")
        assert page.scripts == []  # images only: nothing to turn

    def test_images_only(self, hostile):
        page = Page(hostile)
        assert "By PSNR" in page.text and "Meshes to turn" not in page.text
        assert page.with_class("depth") == [] and len(page.with_class("pixels")) == 2

    def test_method_names_cannot_end_the_data(self, whole, tmp_path, monkeypatch):
        copy = RunStore(Path(shutil.copytree(whole.path, tmp_path / "run")))
        evil = "</script><script>window.pwned=1</script>"
        styles = lambda names: {k: type(v)(k, evil, v.colour) for k, v in method_styles(names).items()}  # noqa: E731
        monkeypatch.setattr("facepipe.report.page.method_styles", styles)
        write_report(copy.path)
        page = Page(copy)
        assert [tag for tag, _ in page.tags].count("script") == 2
        assert json.loads(page.scripts[0])["faces"][0]["rows"][0]["panels"][0]["label"] == evil


def test_one_sample_whose_arrays_are_gone(address, tmp_path):
    options = {"dataset": "sample", "limit": 1, "low_px": "32", "methods": "nearest", "regressors": "none"}
    store = run_bench(address, tmp_path / "run", keep="scores", **options)
    page = Page(RunStore(write_report(store.path).parent.parent))
    assert "By PSNR at 32 px nearest is the only method" in page.text
    assert "PSNR; the only method" in page.text and "ahead of" not in page.text
    assert "kept its tables only (--keep scores)" in page.text
    assert "nan" not in page.text.lower()
    assert page.with_class("tile") == []


@pytest.mark.parametrize("gone", ["", "reference", "lowres"])
def test_arrays_deleted_later_are_missed(whole, tmp_path, gone):
    assert "arrays are gone" not in Page(whole).text
    copy = RunStore(Path(shutil.copytree(whole.path, tmp_path / "run")))
    shutil.rmtree(copy.zarr_path / gone)
    shutil.rmtree(copy.report_path)
    write_report(copy.path)
    page = Page(copy)
    assert "The run's arrays are gone from its folder (store.zarr)" in page.text
    assert page.with_class("tile") == [] and list((copy.report_path / "meshes").glob("*.glb")) == []
    assert "All conditions" in page.text


def test_a_report_outlives_the_arrays(whole, tmp_path):
    copy = RunStore(Path(shutil.copytree(whole.path, tmp_path / "run")))
    before = {path: path.read_bytes() for path in copy.report_path.rglob("*") if path.is_file()}
    assert len(before) == 1 + 3 * 6
    done = CliRunner().invoke(facepipe, ["clean", str(copy.path)])
    assert done.exit_code == 0 and not copy.zarr_path.exists()
    words = [word for key, value in WHOLE.items() for word in (f"--{key.replace('_', '-')}", str(value))]
    for command in (
        ["bench", *words, "--shard-size", "4", "--out", str(copy.path)],
        ["report", str(copy.path)],
    ):
        done = CliRunner().invoke(facepipe, command)
        assert done.exit_code == 0, done.output
        assert str(copy.report_path / "index.html") in done.output
        assert "stays as it is, since the arrays" in done.stderr
        after = {path: path.read_bytes() for path in copy.report_path.rglob("*") if path.is_file()}
        assert after == before


def test_a_regressor_that_finds_nothing(whole, tmp_path):
    """Without truth and with empty volumes of the references no volume is compared with anything."""
    copy = RunStore(Path(shutil.copytree(whole.path, tmp_path / "run")))
    scores = read_table(copy.scores_path)
    for name in METRICS.keys() - {"psnr_db", "ssim"}:
        at = scores.schema.get_field_index(name)
        scores = scores.set_column(at, name, pa.nulls(len(scores), scores.schema.field(at).type))
    write_table(copy.scores_path, scores.cast(SCORES))
    write_report(copy.path)
    page = Page(copy)
    assert "By PSNR at 16 px" in page.text
    assert "the regressor finds a volume" not in page.text and "IoU" not in page.text


@pytest.mark.parametrize("name", ["run.json", "samples.parquet", "failures.parquet", "scores.parquet"])
def test_damaged_files_are_named(whole, tmp_path, name):
    copy = RunStore(Path(shutil.copytree(whole.path, tmp_path / "run")))
    (copy.path / name).write_bytes((copy.path / name).read_bytes()[:-20])
    with pytest.raises(FacepipeError, match=re.escape(f"{copy.path / name}: ")) as caught:
        write_report(copy.path)
    way_out = "delete the folder" if name == "run.json" else "repeat the command"
    assert way_out in str(caught.value) and caught.value.exit_status == 1


def test_a_run_without_scores(whole, tmp_path):
    store = RunStore(tmp_path / "run")
    store.write_run(
        {key: v for key, v in whole.read_run().items() if key != "format"} | {"status": "running"}
    )
    write_report(store.path)
    assert "not complete" in Page(store).text


def test_no_run(tmp_path):
    result = CliRunner().invoke(facepipe, ["report", str(tmp_path)])
    assert isinstance(result.exception, UsageError) and "no run here" in str(result.exception)


def scores(**values: list[float]) -> pa.Table:
    """Method -> ref_iou of its samples, at 16 px."""
    keys = {"degradation": "area", "low_px": 16, "regressor": "r", "truth": "none"}
    rows = [
        {**keys, "method": method, "sample_id": f"s{i}", "ref_iou": value}
        for method, samples in values.items()
        for i, value in enumerate(samples)
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)


class TestAnswer:
    def answer(self, table):
        metric = deciding_metric(aggregate(table))
        found = verdicts(table, aggregate(table), metric)
        return found, headline(found, metric)

    def test_a_lead_in_every_sample_is_a_lead(self):
        # The intervals of the means overlap widely; that of the paired difference is 0.1 throughout.
        (verdict,), text = self.answer(scores(a=[0.2, 0.5, 0.8], b=[0.3, 0.6, 0.9]))
        assert verdict.best.condition.method == "b" and verdict.ties == ()
        assert "overlaps 60 %" in text and "at 16 px b is ahead of every other method" in text

    def test_a_mixed_lead_is_a_tie(self):
        (verdict,), text = self.answer(scores(a=[0.2, 0.7, 0.8], b=[0.3, 0.6, 0.9], c=[0.1, 0.1, 0.1]))
        assert verdict.ties == ("a",)
        assert "at 16 px b leads, not told apart from a" in text
        _, text = self.answer(scores(a=[0.2, 0.7, 0.8], b=[0.3, 0.6, 0.9]))
        assert "no method is told apart from the others" in text

    def test_one_sample_decides_nothing(self):
        (verdict,), text = self.answer(scores(a=[0.2], b=[0.3]))
        assert verdict.unsure and "says nothing of others" in text

    def test_few_samples_are_called_few(self):
        _, text = self.answer(scores(a=[0.2, 0.5, 0.8], b=[0.3, 0.6, 0.9]))
        assert "3 samples" in text
        _, text = self.answer(scores(a=[0.1 * i for i in range(10)], b=[0.1 * i for i in range(10)]))
        assert "samples" not in text

    def test_what_decides(self):
        assert deciding_metric(aggregate(scores(a=[0.1]))) == METRICS["ref_iou"]
        with_truth = scores(a=[0.1]).to_pylist()
        with_truth[0]["iou"] = 0.5
        assert deciding_metric(aggregate(pa.Table.from_pylist(with_truth, schema=SCORES))) == METRICS["iou"]
        assert deciding_metric([]) is None


class TestGallery:
    def test_ranks_by_hand(self):
        table = scores(a=[0.5, 0.1, 0.9, 0.3, 0.7], b=[0.5, 0.1, 0.9, 0.3, 0.7])
        ranked = rank_samples(table, METRICS["ref_iou"], 3)
        assert [(name, rank) for name, rank, _ in ranked] == [
            ("s2", "best"),
            ("s0", "median"),
            ("s1", "worst"),
        ]
        assert [value for _, _, value in ranked] == pytest.approx([0.9, 0.5, 0.1])
        assert [r for _, r, _ in rank_samples(table, METRICS["ref_iou"], 1)] == ["median"]
        assert [r for _, r, _ in rank_samples(scores(a=[0.1, 0.2]), METRICS["ref_iou"], 3)] == [
            "best",
            "worst",
        ]
        assert rank_samples(scores(a=[0.1]), METRICS["ref_iou"], 3) == [("s0", "", 0.1)]

    def test_depth_picture_by_hand(self):
        depth = np.array([[np.nan, 0.0], [5.0, 10.0]], np.float32)
        pixels = np.asarray(decoded(depth_uri(depth, 0.0, 10.0)).convert("RGBA")).astype(int)
        assert pixels[0, 0, 3] == 0 and (pixels[..., 3].ravel()[1:] == 255).all()
        assert pixels[0, 1, 2] > pixels[0, 1, 1]  # far is blue
        assert pixels[1, 0, 1] > 200  # the middle is green
        assert pixels[1, 1, 0] > 2 * pixels[1, 1, 2]  # near is red

    def test_packed_meshes_unpack(self):
        geometry = VolumeGeometry()
        z = ((np.arange(200) + 0.5 - 100) / 3)[:, None, None]
        xy = np.arange(128) + 0.5
        ball = (xy[None, None, :] - 60) ** 2 + (xy[None, :, None] - 70) ** 2 + z**2 < 28**2
        mesh = light_mesh(np.where(ball, 255, 0).astype(np.uint8), geometry)
        assert len(mesh.triangles) < 0.2 * len(
            surface(np.where(ball, 255, 0).astype(np.uint8), geometry).triangles
        )
        packed = pack(mesh)
        raw = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"]), -15), np.uint8).astype(int)
        n, t = packed["vertices"], packed["triangles"]
        planes = [raw[2 * n * k :][: 2 * n].reshape(2, n) for k in range(3)]
        grid = np.stack([np.cumsum(low + 256 * high) % 65536 for low, high in planes], axis=1)
        low, high = raw[6 * n :].reshape(2, 3 * t)
        indices, mark = np.empty(3 * t, int), 0
        for i, code in enumerate(low + 256 * high):
            indices[i] = mark - code
            mark += code == 0
        corners = grid[indices] / STEPS_PER_PX - [0, 0, Z_OFFSET_PX]
        assert np.abs(corners - mesh.vertices[mesh.triangles.ravel()]).max() <= 0.5 / STEPS_PER_PX + 1e-5


class TestCharts:
    def test_a_point_a_condition_and_higher_is_up(self):
        table = scores(a=[0.2, 0.3], b=[0.6, 0.7])
        chart = resolution_chart(aggregate(table), METRICS["ref_iou"], method_styles(["a", "b"]))
        at = {m[1]: float(m[0]) for m in re.findall(r'cy="([\d.]+)" r="4"><title>(\w), 16 px', chart)}
        assert at["b"] < at["a"]
        assert len(re.findall("<circle", chart)) == 2 and "[0.200, 0.300], n = 2" in chart

    def test_nothing_to_draw(self):
        assert resolution_chart(aggregate(scores(a=[0.2])), METRICS["iou"], method_styles(["a"])) == ""
        empty = {"a": np.array([np.nan])}
        assert scatter_chart(empty, empty, "psnr_db", "iou", method_styles(["a"]), "", "") == ""

    def test_equal_values_and_names_that_are_markup(self):
        styles = method_styles([f"file:/x/{HOSTILE}.pt"])
        flat = {f"file:/x/{HOSTILE}.pt": np.full(3, 30.0)}
        chart = scatter_chart(flat, flat, "psnr_db", "psnr_db", styles, HOSTILE, HOSTILE)
        assert "<img" not in chart and "nan" not in chart
        tags = re.findall(r"<(\w+)", chart)
        assert set(tags) <= {"svg", "text", "line", "path", "circle", "title"}


def test_styles_are_the_same_in_every_run():
    one, two = method_styles(["bicubic", "mine"]), method_styles(["reference", "nearest", "bicubic"])
    assert one["bicubic"].colour == two["bicubic"].colour
    assert len({style.colour for style in {**one, **two}.values()}) == 4
    assert method_styles(["file:/a/b/net-x4.safetensors"])["file:/a/b/net-x4.safetensors"].label == "net-x4"


def test_numbers():
    assert (number(0.12345), number(-1.5, "px"), number(30.126, "dB")) == ("0.123", "−1.50", "30.13")
    assert math.isclose(float(unquote(number(0.5))), 0.5)
