"""Input by people who mean harm: it is refused or treated as data, and it reaches nothing beyond."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from written_runs import TWO, write_run

from facepipe.cli import facepipe
from facepipe.core.config_model import read_config_file
from facepipe.core.errors import SampleError, UsageError, WeightsError, printable
from facepipe.datasets.catalog import open_dataset
from facepipe.models.weights import read_third_party
from facepipe.results import query as querying
from facepipe.results.query import ask

RED = "\x1b[31mred\x1b[0m"
SCRIPT = "<img src=x onerror=alert(1)>"


def jpeg(seed: int = 0) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
    Image.fromarray(pixels.repeat(8, 0).repeat(8, 1)).save(file, "JPEG")
    return file.getvalue()


class Writes:
    """A payload: whoever unpickles it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A whole benchmark over a folder of traps."""
    root = tmp_path_factory.mktemp("hostile")
    photos = root / "photos"
    photos.mkdir()
    (root / "secret.jpg").write_bytes(jpeg(9))
    (photos / f"{RED}.jpg").write_bytes(jpeg(1))
    (photos / "two\nlines.jpg").write_bytes(jpeg(2))
    (photos / f"{SCRIPT}.jpg").write_bytes(jpeg(3))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.html", "<script>alert(1)</script>")
    (photos / "polyglot.jpg").write_bytes(jpeg(4) + archive.getvalue())
    (photos / "vector.jpg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    (photos / "page.png").write_text(f"<html>{SCRIPT}</html>")
    (photos / "link.jpg").symlink_to(root / "secret.jpg")
    (photos / "deep.jpg").symlink_to("../secret.jpg")
    (photos / "folder").symlink_to(root, target_is_directory=True)
    (photos / "twin.jpg").symlink_to("polyglot.jpg")
    Image.new("1", (30_000, 30_000)).save(photos / "bomb.png")
    options = ["--methods", "nearest", "--low-px", "32", "--regressors", "none", "--workers", "1"]
    command = [
        sys.executable,
        "-m",
        "facepipe",
        "bench",
        "--dataset",
        str(photos),
        "--out",
        str(root / "run"),
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=800)
    return root, done


class TestNames:
    def test_what_is_used_and_what_is_not(self, run) -> None:
        root, done = run
        assert done.returncode == 0, done.stderr
        failures = pq.read_table(root / "run" / "failures.parquet").to_pylist()
        assert {row["sample_id"]: row["reason"] for row in failures} == {
            "bomb": "too-many-pixels",
            "deep": "outside-link",
            "link": "outside-link",
            "page": "not-an-image",
            "vector": "not-an-image",
        }
        samples = pq.read_table(root / "run" / "samples.parquet")["sample_id"].to_pylist()
        assert samples == sorted([RED, "two\nlines", SCRIPT, "polyglot", "twin"])
        assert sorted(path.name for path in root.iterdir()) == ["photos", "run", "secret.jpg"]

    def test_terminals_and_pages_get_text(self, run) -> None:
        root, done = run
        shown = CliRunner().invoke(facepipe, ["query", str(root / "run"), "select sample_id from samples"])
        for text in (done.stdout, done.stderr, shown.stdout):
            assert "\x1b" not in text
        assert r"\x1b[31mred" in shown.stdout
        page = (root / "run" / "report" / "index.html").read_text()
        assert SCRIPT not in page and "onerror=alert" not in page.replace(
            "&lt;img src=x onerror=alert(1)&gt;", ""
        )

    def test_members_of_archives(self, tmp_path: Path) -> None:
        names = [
            "../../up.jpg",
            "/etc/absolute.jpg",
            "a/../../b.jpg",
            "C:\\windows.jpg",
            f"{RED}.jpg",
            "good.jpg",
        ]
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name in names:
                archive.writestr(name, jpeg())
        dataset = open_dataset(tmp_path / "set.zip")
        refs = dataset.refs()
        assert not any(part.startswith("..") for ref in refs for part in ref.sample_id.split("/"))
        assert "good" in {ref.sample_id for ref in refs}
        for ref in refs:
            assert dataset.load(ref).image.shape == (160, 160, 3)
        assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]

    def test_a_zip_bomb(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("good.jpg", jpeg())
            with archive.open("bomb.jpg", "w", force_zip64=True) as member:
                for _ in range(300):
                    member.write(bytes(1 << 20))
        dataset = open_dataset(tmp_path / "set.zip")
        bomb, good = dataset.refs()
        with pytest.raises(SampleError, match="file-too-large"):
            dataset.load(bomb)
        dataset.load(good)

    def test_control_characters_become_escapes(self) -> None:
        assert printable("a\x1b[2J\r\n\u202eb\x9b é") == r"a\x1b[2J\r\n\u202eb\x9b é"


class TestPayloads:
    @pytest.mark.parametrize("form", ["pickle", "npy", "npz"])
    def test_nothing_in_a_file_runs(self, form: str, tmp_path: Path) -> None:
        proof, path = tmp_path / "it-ran", tmp_path / f"evil.{form}"
        payload = np.array([Writes(proof)], object)
        if form == "pickle":
            path.write_bytes(pickle.dumps(Writes(proof)))
        elif form == "npy":
            np.save(path, payload, allow_pickle=True)
        else:
            np.savez(path, weight=payload)
        with pytest.raises(WeightsError):
            read_third_party(path)
        photos = tmp_path / "photos"
        photos.mkdir()
        (photos / "evil.jpg").write_bytes(path.read_bytes())
        dataset = open_dataset(photos)
        with pytest.raises(SampleError, match="not-an-image"):
            dataset.load(dataset.refs()[0])
        assert not proof.exists()

    def test_the_payload_works(self, tmp_path: Path) -> None:
        pickle.loads(pickle.dumps(Writes(tmp_path / "it-ran")))
        assert (tmp_path / "it-ran").exists()


class TestConfigurations:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("seed: 1\nseed: 2\n", "key 'seed' twice"),
            ("low-px: 32\nlow_px: 16\n", "once with '-' and once with '_'"),
            ("a: {b: 1, b: 2}\n", "key 'b' twice"),
            ("? [1]\n: 2\n", "not YAML"),
            ("a: !!python/object/apply:os.system ['touch {}']\n", "not YAML"),
            ("a: !!python/name:os.system\n", "not YAML"),
            ("a: !include /etc/passwd\n", "not YAML"),
            ("<<: 3\n", "not YAML"),
        ],
    )
    def test_tags_and_double_keys_are_errors(self, text: str, message: str, tmp_path: Path) -> None:
        path = tmp_path / "run.yaml"
        path.write_text(text.format(tmp_path / "it-ran") if "touch" in text else text)
        with pytest.raises(UsageError, match=message):
            read_config_file(path)
        assert not (tmp_path / "it-ran").exists()


class TestSql:
    @pytest.mark.parametrize(
        "sql",
        [
            "select * from read_text('/etc/passwd')",
            "select * from read_blob('/etc/passwd')",
            "select * from read_parquet('{run}/samples.parquet')",
            "select * from read_json('{run}/run.json')",
            "select * from '/etc/passwd'",
            "select * from glob('/*')",
            "select * from sniff_csv('/etc/passwd')",
            "select getenv('HOME')",
            "select * from query('copy scores to ''{run}/out''')",
            "with x as (select 1) select * from read_csv('/etc/passwd')",
            "load httpfs",
            "install httpfs",
            "attach ':memory:' as other",
            "copy (select 1) to '{run}/out'",
            "export database '{run}/out'",
            "set memory_limit = '1TB'",
            "pragma enable_external_access = true",
            "call pragma_version()",
            "explain analyze copy scores to '{run}/out'",
        ],
    )
    def test_files_settings_and_extensions_are_out_of_reach(self, sql: str, tmp_path: Path) -> None:
        store = write_run(tmp_path / "run", TWO)
        before = sorted(path.name for path in store.path.iterdir())
        with pytest.raises(UsageError):
            ask(store.path, sql.format(run=store.path))
        assert sorted(path.name for path in store.path.iterdir()) == before

    def test_a_question_has_bounds(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = write_run(tmp_path / "run", TWO)
        monkeypatch.setattr(querying, "MEMORY_LIMIT", "50MB")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UsageError, match="Out of Memory"):
            ask(store.path, "select count(distinct range::varchar || 'x') from range(20000000)")
        assert [path.name for path in tmp_path.iterdir()] == ["run"]
