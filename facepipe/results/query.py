"""SQL over the tables of a benchmark run or a surveillance archive, or of a folder of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from facepipe.core.errors import FacepipeError, UsageError, printable
from facepipe.core.schema import FAILURES, SAMPLES, SCORES
from facepipe.results.archives import find_archives, register_archives, versions_of
from facepipe.results.runs import (
    FoundRun,
    concatenate,
    find_runs,
    has_runs,
    read_run_table,
    subfolders,
)
from facepipe.surveil.archive import Archive

A = TypeVar("A")
Fetch = Callable[[duckdb.DuckDBPyConnection, duckdb.Statement], A]

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

ATTEMPTS = 5

MEMORY_LIMIT = "4GB"
"""What a question may take; nothing is spilled to disk."""

VIEWS = ("scores", "samples", "failures", "runs", "faces", "files", "stages")

# PIVOT is a MULTI: DuckDB looks up the column names first. WITH, FROM, DESCRIBE, SUMMARIZE and SHOW are
# SELECT.
_QUESTIONS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)


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
        """As a JSON list of objects; numbers that JSON lacks (NaN, infinity) become null, keys text."""
        rows = [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]
        return json.dumps(rows, indent=2, ensure_ascii=False, default=str, allow_nan=False)

    def as_text(self) -> str:
        """As aligned columns."""
        numeric = [
            all(isinstance(row[i], int | float | Decimal) or row[i] is None for row in self.rows)
            for i in range(len(self.columns))
        ]
        cells = [tuple(map(printable, self.columns)), *(tuple(map(_cell, row)) for row in self.rows)]
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


def open_run(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the tables of a run or an archive, or of all in a folder, for SQL.

    The views are `scores`, `samples`, `failures` and `runs` of benchmark runs, `faces`, `files` and
    `stages` of archives. Samples and failures carry `run_id` too; a run that is not complete has no scores
    yet. The connection lives in memory: whatever is asked of it changes no file and reads no other.

    Raises:
        UsageError: there is neither.
        FacepipeError: run.json or one of the tables is damaged.
    """
    return _open(*_find(path))


def _find(path: Path) -> tuple[list[FoundRun], list[Archive]]:
    folders = subfolders(path) if path.is_dir() else []
    archives = find_archives(path, folders) if path.is_dir() else []
    return [] if archives and not has_runs(path, folders) else find_runs(path, folders), archives


def _open(found: list[FoundRun], archives: list[Archive]) -> duckdb.DuckDBPyConnection:
    scores = [read_run_table(run.store.scores_path, SCORES) for run in found]
    tables = {"scores": concatenate(scores, SCORES)}
    for name, schema in (("samples", SAMPLES), ("failures", FAILURES)):
        parts = []
        for run in found:
            file = run.store.samples_path if name == "samples" else run.store.failures_path
            parts.append(_with_run_id(read_run_table(file, schema), run.facts.get("run_id")))
        tables[name] = concatenate(parts, pa.schema([("run_id", pa.string()), *schema]))
    runs = [_run_row(run) for run in found]
    connection = duckdb.connect(":memory:")
    for name, table in tables.items():
        connection.register(name, table)
    connection.register("run_rows", pa.Table.from_pylist(runs, schema=RUNS))
    as_json = ", ".join(f"{name}::JSON AS {name}" for name in _JSON_COLUMNS)
    connection.execute(f"CREATE TABLE runs AS SELECT * REPLACE ({as_json}) FROM run_rows")
    connection.unregister("run_rows")
    register_archives(connection, archives)
    # A question has bounds: it may fail, and takes neither the machine nor the disk with it.
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET temp_directory = ''")
    # Without the first, SQL could name Python variables; without the others, files.
    connection.execute("SET python_enable_replacements = false")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def ask(path: Path, sql: str) -> Answer:
    """Answer a question in SQL about a run, an archive or a folder of them.

    A surveillance run may take files from an archive's tables while they are read: then they are read again.

    Raises:
        UsageError: there is neither, or the SQL is wrong (one line that says where), or it is anything but
            one question.
        FacepipeError: run.json or one of the tables is damaged.
    """
    return _ask_again(path, sql, _rows)


def ask_table(path: Path, sql: str) -> pa.Table:
    """As `ask`, as a table with the types that the columns have."""
    return _ask_again(path, sql, lambda connection, question: connection.sql(question).to_arrow_table())


def _ask_again(path: Path, sql: str, fetch: Fetch[A]) -> A:
    found, archives = _find(path)
    for _ in range(ATTEMPTS):
        before = versions_of(archives)
        try:
            return _ask(path, found, archives, sql, fetch)
        except FacepipeError:
            if versions_of(archives) == before:
                raise
    raise FacepipeError(f"{path}: its tables changed {ATTEMPTS} times while they were read; ask again")


def _rows(connection: duckdb.DuckDBPyConnection, question: duckdb.Statement) -> Answer:
    connection.execute(question)
    columns = tuple(column[0] for column in connection.description or ())
    return Answer(columns, connection.fetchall())


def _ask(
    path: Path,
    found: list[FoundRun],
    archives: list[Archive],
    sql: str,
    fetch: Fetch[A],
) -> A:
    connection = _open(found, archives)
    try:
        return fetch(connection, _one_question(connection, sql))
    except duckdb.Error as error:
        raise UsageError(_one_line(str(error))) from error
    except (pa.ArrowException, OSError) as error:
        raise FacepipeError(f"{path}: a table cannot be read: {' '.join(str(error).split())}") from error
    finally:
        connection.close()


def _one_question(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    """The only statement of the SQL, if it asks for rows and changes nothing."""
    statements = connection.extract_statements(sql)
    if not statements:
        raise UsageError("the SQL is empty: ask for example 'select * from scores limit 10'")
    if len(statements) > 1:
        raise UsageError(f"the SQL holds {len(statements)} statements: ask one question at a time")
    if statements[0].type not in _QUESTIONS:
        raise UsageError(
            f"{statements[0].type.name} asks nothing, and the tables cannot be changed: "
            "expected one SELECT (also WITH, FROM, PIVOT, DESCRIBE, SUMMARIZE, SHOW or EXPLAIN)"
        )
    return statements[0]


def _one_line(message: str) -> str:
    """DuckDB's message without its drawing of the query, with the views where a table is unknown."""
    head = " ".join(message.split("\n\n", maxsplit=1)[0].split())
    if "Table with name" in head:
        head = f"{head.split(' Did you mean')[0]} The views are {', '.join(VIEWS)}."
    return f"the SQL failed: {head}"


def _with_run_id(table: pa.Table, run_id: str | None) -> pa.Table:
    return table.add_column(0, "run_id", pa.array([run_id] * table.num_rows, pa.string()))


def _run_row(found: FoundRun) -> dict[str, Any]:
    run = found.facts
    identity = run.get("identity", {})
    plain = {name: run.get(name) for name in ("run_id", "dataset", "status", "created", "finished")}
    documents = {name: run.get(name, {}) for name in _JSON_COLUMNS} | {"weights": identity.get("weights", {})}
    return (
        {"folder": str(found.store.path), "version": run.get("facepipe")}
        | plain
        | {name: json.dumps(value, ensure_ascii=False) for name, value in documents.items()}
    )


def _plain(value: Any) -> Any:
    """A value, which may be nested, as JSON can say it."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = float(value) if isinstance(value, Decimal) else value
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else printable(str(value).replace("\n", " "))
