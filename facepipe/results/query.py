"""SQL over the tables of one run or of a folder of runs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from facepipe.errors import UsageError
from facepipe.schema import FAILURES, SAMPLES, SCORES
from facepipe.store import RunStore, read_table

RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("folder", pa.string()),
        ("dataset", pa.string()),
        ("status", pa.string()),
        ("created", pa.string()),
        ("finished", pa.string()),
        ("version", pa.string()),
        ("config", pa.string()),
        ("versions", pa.string()),
        ("weights", pa.string()),
        ("counts", pa.string()),
    ]
)
"""Columns of the view `runs`; the last four are JSON."""

_JSON_COLUMNS = ("config", "versions", "weights", "counts")

VIEWS = ("scores", "samples", "failures", "runs")


@dataclass(frozen=True)
class Answer:
    """The result of a query: column names and rows of plain values."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def as_csv(self) -> str:
        """As CSV with a header; null is an empty field."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()

    def as_json(self) -> str:
        """As a JSON list of objects; numbers that JSON lacks (NaN, infinity) become null."""
        rows = [dict(zip(self.columns, map(_finite, row), strict=True)) for row in self.rows]
        return json.dumps(rows, indent=2, ensure_ascii=False, default=str, allow_nan=False)

    def as_text(self) -> str:
        """As aligned columns."""
        numeric = [
            all(isinstance(row[i], int | float | Decimal) or row[i] is None for row in self.rows)
            for i in range(len(self.columns))
        ]
        cells = [self.columns, *(tuple(map(_cell, row)) for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(
                cell.rjust(width) if right else cell.ljust(width)
                for cell, width, right in zip(row, widths, numeric, strict=True)
            ).rstrip()
            for row in cells
        ]
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([lines[0], rule, *lines[1:]])


def find_runs(path: Path) -> list[RunStore]:
    """The run in a folder, or the runs in its subfolders, sorted by name.

    Raises:
        UsageError: there is none.
    """
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; expected a run, or a folder that holds runs")
    if RunStore(path).exists():
        return [RunStore(path)]
    stores = [RunStore(folder) for folder in sorted(path.iterdir()) if folder.is_dir()]
    runs = [store for store in stores if store.exists()]
    if not runs:
        raise UsageError(
            f"{path}: no run here; a run folder holds run.json, samples.parquet, failures.parquet and "
            "scores.parquet. `facepipe bench --out RUN` makes one"
        )
    return runs


def read_scores(path: Path) -> pa.Table:
    """The scores of a run, or of all runs in a folder; no rows where none is complete.

    Raises:
        UsageError: there is no run, or its scores are damaged.
    """
    return _concatenate([_read(store.scores_path, SCORES) for store in find_runs(path)], SCORES)


def open_run(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the tables of a run, or of all runs in a folder, for SQL.

    The views are `scores`, `samples`, `failures` and `runs`; samples and failures carry `run_id` too. A
    run that is not complete has no scores yet. The connection lives in memory: whatever is asked of it
    changes no file and reads none.

    Raises:
        UsageError: there is no run, or one of its tables is damaged.
    """
    stores = find_runs(path)
    facts = [store.read_run() for store in stores]
    ids = [run.get("run_id") for run in facts]
    tables = {"scores": _concatenate([_read(store.scores_path, SCORES) for store in stores], SCORES)}
    for name, schema in (("samples", SAMPLES), ("failures", FAILURES)):
        paths = [store.samples_path if name == "samples" else store.failures_path for store in stores]
        parts = [_with_run_id(_read(path, schema), run_id) for path, run_id in zip(paths, ids, strict=True)]
        tables[name] = _concatenate(parts, pa.schema([("run_id", pa.string()), *schema]))
    runs = [_run_row(store, run) for store, run in zip(stores, facts, strict=True)]
    connection = duckdb.connect(":memory:")
    for name, table in tables.items():
        connection.register(name, table)
    connection.register("run_rows", pa.Table.from_pylist(runs, schema=RUNS))
    as_json = ", ".join(f"{name}::JSON AS {name}" for name in _JSON_COLUMNS)
    connection.execute(f"CREATE TABLE runs AS SELECT * REPLACE ({as_json}) FROM run_rows")
    connection.unregister("run_rows")
    # Without the first, SQL could name Python variables; without the others, files.
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def ask(path: Path, sql: str) -> Answer:
    """Answer a question in SQL about a run or a folder of runs.

    Raises:
        UsageError: there is no run, or the SQL is wrong (one line that says where).
    """
    connection = open_run(path)
    try:
        connection.execute(sql)
        if connection.description is None:
            raise UsageError("the SQL is empty: ask for example 'select * from scores limit 10'")
        columns = tuple(column[0] for column in connection.description)
        return Answer(columns, connection.fetchall())
    except duckdb.Error as error:
        raise UsageError(_one_line(str(error))) from error
    finally:
        connection.close()


def _one_line(message: str) -> str:
    """DuckDB's message without its drawing of the query, with the views where a table is unknown."""
    head = " ".join(message.split("\n\n", maxsplit=1)[0].split())
    if "Table with name" in head:
        head = f"{head.split(' Did you mean')[0]} The views are {', '.join(VIEWS)}."
    return f"the SQL failed: {head}"


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        return schema.empty_table()
    try:
        return read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not a readable Parquet file: {' '.join(str(error).split())}") from error


def _concatenate(tables: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *tables], promote_options="permissive")


def _with_run_id(table: pa.Table, run_id: str | None) -> pa.Table:
    return table.add_column(0, "run_id", pa.array([run_id] * table.num_rows, pa.string()))


def _run_row(store: RunStore, run: dict[str, Any]) -> dict[str, Any]:
    identity = run.get("identity", {})
    plain = {name: run.get(name) for name in ("run_id", "dataset", "status", "created", "finished")}
    documents = {name: run.get(name, {}) for name in _JSON_COLUMNS} | {"weights": identity.get("weights", {})}
    return (
        {"folder": str(store.path), "version": run.get("facepipe")}
        | plain
        | {name: json.dumps(value, ensure_ascii=False) for name, value in documents.items()}
    )


def _finite(value: Any) -> Any:
    value = float(value) if isinstance(value, Decimal) else value
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value).replace("\n", " ")
