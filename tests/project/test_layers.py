"""The import rules of the design, checked by import-linter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_no_import_runs_upwards() -> None:
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


PARQUET = {
    "facepipe/surveil/archive.py",
    "facepipe/bench/completeness.py",
    "facepipe/surveil/state.py",
    "facepipe/surveil/delta_table.py",
    "facepipe/core/tables.py",
}
"""The modules that may open Parquet files. import-linter knows other packages as a whole only."""


def test_only_these_modules_touch_parquet_files() -> None:
    found = set()
    for folder in ("facepipe", "tasks", "flows"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                if any(name.startswith("pyarrow.parquet") for name in names):
                    found.add(path.relative_to(ROOT).as_posix())
    assert "facepipe/core/tables.py" in found
    assert found <= PARQUET
