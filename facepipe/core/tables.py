"""Parquet files, written whole or not at all, and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from facepipe.core.files import opened, replacing, sync

ROWS_AT_ONCE = 8192
"""Rows of small tables that are gathered in memory before they are written."""


def write_table(path: Path, table: pa.Table, private: bool = False) -> None:
    """Write a Parquet file atomically."""
    write_tables(path, [table], table.schema, private)


def write_tables(
    path: Path,
    tables: Iterable[pa.Table],
    schema: pa.Schema,
    private: bool = False,
    row_group_size: int | None = None,
) -> int:
    """Write tables one after the other into one Parquet file, atomically and in bounded memory.

    Args:
        path: the file; missing folders are made.
        tables: with at least the schema's columns.
        schema: of the file.
        private: as in `write_atomically`.
        row_group_size: rows that can be read without the others; None leaves it to the library.

    Returns:
        The number of rows.
    """
    rows = 0
    with replacing(path, private) as temporary, opened(temporary, private) as file:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in _gathered(tables, schema):
                writer.write_table(table, row_group_size)
                rows += table.num_rows
        sync(file)
    return rows


def _gathered(tables: Iterable[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
    """Tables of a few rows, one after the other in tables of many: each that is written costs a row group."""
    pending: list[pa.Table] = []
    rows = 0
    for table in tables:
        pending.append(table.select(schema.names).cast(schema))
        rows += table.num_rows
        if rows >= ROWS_AT_ONCE:
            yield pa.concat_tables(pending)
            pending, rows = [], 0
    if pending:
        yield pa.concat_tables(pending)


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file that `write_tables` wrote; unchanged files are kept in memory.

    Raises:
        OSError, pa.ArrowException, UnicodeDecodeError: it is missing or damaged.
    """
    stat = path.stat()
    return _read_cached(str(path), stat.st_ino, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_cached(path: str, inode: int, mtime_ns: int) -> pa.Table:  # noqa: ARG001 - part of the key
    return pq.read_table(path, page_checksum_verification=True)


def read_checked(path: Path, expected: Callable[[pa.Schema], pa.Schema]) -> pa.Table:
    """Read a Parquet file of a few rows and compare it with its checksums and with what it should consist of.

    Args:
        path: the file.
        expected: from the columns that it has to those that it should have.

    Raises:
        FileNotFoundError, or an OSError with a number: it is missing, or cannot be read now.
        pa.ArrowException, OSError, ValueError: it is damaged.
    """
    # What reads whole data sets on many threads costs three times as much.
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(use_threads=False)
        if (table.schema, table.num_rows) != (expected(table.schema), file.metadata.num_rows):
            raise pa.ArrowInvalid("its columns or rows are not those that were written")
    return table
