"""Another metric on a finished run: its column is computed, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import facepipe as fp
from facepipe.core.errors import RunConflictError
from facepipe.core.files import file_digest
from facepipe.core.plugins import load_plugin
from facepipe.core.tables import write_table

MODULE = """
import numpy as np
from facepipe import Metric

class Difference:
    description = Metric("{name}", "Difference", "", 0.0, 255.0, False, "reference image", "mean", "test")
    licence, deterministic = "MIT", True
    def build(self, device):
        return lambda inputs: float(np.abs(inputs.restored.astype(int) - inputs.reference).mean())
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("first", "second"):
        (tmp_path / f"{name}_metric.py").write_text(MODULE.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    load_plugin.cache_clear()
    return tmp_path


@pytest.mark.slow
def test_only_the_new_column_is_computed(modules: Path, tmp_path: Path):
    options = {"limit": 2, "low_px": [16], "methods": ["bicubic"], "regressors": ["none"], "workers": 1}
    run = fp.bench("sample", tmp_path / "run", metrics=["first_metric:Difference"], **options)
    assert run.scores.schema.names[-1] == "first"
    # What is computed again would not have these values.
    marked = run.scores
    for name in ("psnr_db", "first"):
        at = marked.schema.names.index(name)
        marked = marked.set_column(at, name, pc.add(marked[name], 1.0))
    write_table(run.path / "scores.parquet", marked)
    facts = json.loads((run.path / "run.json").read_text())
    facts["files"]["scores.parquet"] = file_digest(run.path / "scores.parquet")
    (run.path / "run.json").write_text(json.dumps(facts))

    both = ["first_metric:Difference", "second_metric:Difference"]
    again = fp.bench("sample", run.path, metrics=both, **options)
    table = pq.read_table(run.path / "scores.parquet")
    assert table.drop_columns(["second", "seconds"]).equals(marked.drop_columns(["seconds"]))
    np.testing.assert_allclose(table["second"].to_numpy(), marked["first"].to_numpy() - 1.0)
    assert [metric["name"] for metric in again.facts["metrics"]] == ["first", "second"]

    (again.path / "run.json").write_text(json.dumps(again.facts | {"status": "running"}))
    with pytest.raises(RunConflictError, match="unfinished run of other metrics"):
        fp.bench("sample", run.path, metrics=both[:1], **options)
    assert isinstance(again.scores, pa.Table)
