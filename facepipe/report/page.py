"""Write the report of a run: one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
from markupsafe import Markup

from facepipe.bench.completeness import COMPLETE, DAMAGED, count_quarantined
from facepipe.bench.run_store import RunStore
from facepipe.core.files import write_atomically
from facepipe.core.schema import FAILURES
from facepipe.metrics.catalogue import METRICS, Metric
from facepipe.report.answer import Verdict, deciding_metric, headline, verdicts
from facepipe.report.gallery import Face, read_gallery
from facepipe.report.panels import GalleryView, build_gallery, viewer_json, write_meshes
from facepipe.report.pictures import turbo_gradient
from facepipe.report.plots import ChartGroup, chart_groups
from facepipe.report.style import MethodStyle, method_styles, number
from facepipe.report.tables import ResultSection, StratumTable, result_sections, stratum_tables
from facepipe.results.aggregate import ConditionSummary, aggregate
from facepipe.results.interocular import by_interocular
from facepipe.results.runs import open_store, read_metrics, read_run_table, read_scores

logger = logging.getLogger("facepipe")

MOST_FAILURES = 25
"""Failures that the page names one by one; the table holds all."""


@dataclass(frozen=True)
class FailureSummary:
    """What was quarantined: counts by stage and reason, and the first rows."""

    n_samples: int
    counts: list[tuple[str, str, int]]
    rows: list[dict[str, Any]]
    n_rows: int


@dataclass(frozen=True)
class Report:
    """Everything that the template lays out."""

    run: Mapping[str, Any]
    run_path: str
    n_samples: int
    metric: Metric | None
    headline: str
    verdicts: list[Verdict]
    styles: Mapping[str, MethodStyle]
    sections: list[ResultSection]
    charts: list[ChartGroup]
    strata: list[StratumTable]
    gallery: GalleryView | None
    no_gallery: str
    failures: FailureSummary
    weights: list[tuple[str, str]]


def write_report(path: Path, by_eyes: bool = False) -> Path:
    """Write RUN/report/index.html and RUN/report/meshes/*.glb, in place of any that are there.

    A report of a complete run whose arrays are gone stays as it is: its faces could not be shown again.

    Args:
        path: a run.
        by_eyes: whether charts show metrics against the pixels between the eyes.

    Returns:
        The page.

    Raises:
        UsageError: there is no run, or nothing says where the eyes are.
        FacepipeError: run.json or one of the tables is damaged.
    """
    opened = open_store(path)
    store, run = opened.store, opened.facts
    scores, metrics = read_scores(path), read_metrics(path)
    summaries = aggregate(scores)
    metric = deciding_metric(summaries)
    styles = method_styles(summary.condition.method for summary in summaries)
    faces = _faces(store, run, scores, metric)
    page = store.report_path / "index.html"
    if metric and not faces and _keeps_arrays(run) and _is_whole(run) and page.is_file():
        logger.warning("%s: stays as it is, since the arrays that its faces came from are gone", page)
        return page
    charted = (scores, summaries)
    if by_eyes:
        table = by_interocular(scores)
        charted = (table, aggregate(table))
    gallery = build_gallery(faces, styles) if faces and metric else None
    found = verdicts(scores, summaries, metric) if metric else []
    report = Report(
        run=run,
        run_path=str(path),
        n_samples=run.get("counts", {}).get("samples", 0),
        metric=metric,
        headline=_headline(found, metric, summaries),
        verdicts=found,
        styles=styles,
        sections=result_sections(summaries, styles, found, metric, metrics),
        charts=chart_groups(*charted, styles, metrics, "px between the eyes" if by_eyes else "px"),
        strata=stratum_tables(scores, metric, found) if metric else [],
        gallery=gallery,
        no_gallery=_no_gallery(run) if metric and gallery is None else "",
        failures=_failures(store),
        weights=sorted(run.get("identity", {}).get("weights", {}).items()),
    )
    write_meshes(faces, styles, store.report_path / "meshes")
    write_atomically(page, render_page(report, viewer_json(faces, styles, gallery)).encode())
    return page


def render_page(report: Report, viewer: Mapping[str, Any] | None) -> str:
    """Lay a report out as HTML. Every name in it is escaped, and only the page's own script may run."""
    folder = files("facepipe.report")
    script = folder.joinpath("viewer.js").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["number"] = number
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)
    template = environment.from_string(folder.joinpath("page.html").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return template.render(
        report=report,
        metrics=METRICS,
        viewer=viewer,
        style=Markup(folder.joinpath("page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=digest,
        gradient=turbo_gradient(),
    )


def _headline(found: Sequence[Verdict], metric: Metric | None, summaries: Sequence[ConditionSummary]) -> str:
    if metric is not None and found:
        return headline(found, metric)
    return "The run is not complete: it has no scores yet." if not summaries else "No image could be scored."


def _faces(store: RunStore, run: Mapping[str, Any], scores: pa.Table, metric: Metric | None) -> list[Face]:
    return read_gallery(store, scores, metric) if _keeps_arrays(run) and metric is not None else []


def _keeps_arrays(run: Mapping[str, Any]) -> bool:
    return bool(run.get("config", {}).get("keep", "all") == "all")


def _is_whole(run: Mapping[str, Any]) -> bool:
    """Whether the run was complete once: no stage makes its arrays again by itself."""
    return run.get("status") in (COMPLETE, DAMAGED)


def _no_gallery(run: Mapping[str, Any]) -> str:
    """Why there are no faces to show."""
    if _keeps_arrays(run):
        return (
            "The run's arrays are gone from its folder (store.zarr), so its images and meshes cannot be "
            "shown; its tables are whole. To see faces, repeat the bench command with another --out."
        )
    return "The run kept its tables only (--keep scores), so there are no images and meshes to show."


def _failures(store: RunStore) -> FailureSummary:
    table = read_run_table(store.failures_path, FAILURES)
    rows = table.to_pylist()
    counts = Counter((row["stage"], row["reason"]) for row in rows)
    return FailureSummary(
        n_samples=count_quarantined(table),
        counts=[(stage, reason, n) for (stage, reason), n in counts.most_common()],
        rows=rows[:MOST_FAILURES],
        n_rows=len(rows),
    )
