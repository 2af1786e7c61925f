"""Read the tables of finished runs: SQL, means with intervals, the result table."""

from facepipe.metrics.intervals import Estimate
from facepipe.results.aggregate import (
    ConditionSummary,
    Difference,
    aggregate,
    default_baseline,
    differences,
)
from facepipe.results.query import Answer, ask, open_run
from facepipe.results.runs import open_store, read_metrics, read_run_table, read_scores
from facepipe.results.strata import strata
from facepipe.results.table import result_table_text

__all__ = [
    "Answer",
    "ConditionSummary",
    "Difference",
    "Estimate",
    "aggregate",
    "ask",
    "default_baseline",
    "differences",
    "open_run",
    "open_store",
    "read_metrics",
    "read_run_table",
    "read_scores",
    "result_table_text",
    "strata",
]
