"""Means, intervals and SQL on tables whose answers are known."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner
from written_runs import TWO, row, scores, write_run

from facepipe.bench.spec import Condition
from facepipe.cli import facepipe
from facepipe.core.errors import FacepipeError, UsageError
from facepipe.core.schema import SCORES
from facepipe.results.aggregate import aggregate, default_baseline, differences
from facepipe.results.query import ask, open_run
from facepipe.results.runs import read_scores
from facepipe.results.strata import strata
from facepipe.results.table import TABLE_METRICS, result_table_text


class TestAggregate:
    def test_means_by_hand(self):
        first, second = aggregate(TWO)
        assert first.condition == Condition("area", 16, "bilinear", "none") and first.n == 2
        assert first.metrics["psnr_db"].mean == 25.0 and second.metrics["psnr_db"].mean == 27.0
        assert set(first.metrics) == {"psnr_db", "ssim"}  # the others are null throughout

    def test_interval_of_two_samples_spans_them(self):
        # Resamples of {20, 30} average 20, 25 or 30 with chances 1/4, 1/2, 1/4.
        estimate = aggregate(TWO)[0].metrics["psnr_db"]
        assert (estimate.low, estimate.high, estimate.n) == (20.0, 30.0, 2)

    def test_interval_agrees_with_the_normal_approximation(self):
        values = np.random.default_rng(1).normal(10, 3, 400)
        table = scores(*(row(f"s{i}", psnr_db=float(v)) for i, v in enumerate(values)))
        estimate = aggregate(table)[0].metrics["psnr_db"]
        half = 1.96 * values.std(ddof=1) / 20
        assert estimate.mean == pytest.approx(values.mean())
        assert estimate.low == pytest.approx(values.mean() - half, abs=0.12 * half)
        assert estimate.high == pytest.approx(values.mean() + half, abs=0.12 * half)

    def test_seed_and_row_order_do_not_matter_to_means(self):
        shuffled = TWO.take([3, 1, 0, 2])
        by_method = lambda t: {s.condition.method: s.metrics["psnr_db"].mean for s in aggregate(t)}  # noqa: E731
        assert by_method(shuffled) == by_method(TWO)
        assert aggregate(TWO, seed=3) == aggregate(TWO, seed=3)

    def test_a_single_sample_has_no_interval(self):
        estimate = aggregate(scores(row("a", psnr_db=20.0)))[0].metrics["psnr_db"]
        assert estimate.mean == 20.0 and estimate.n == 1
        assert np.isnan(estimate.low) and np.isnan(estimate.high)

    def test_null_and_infinite_values_do_not_count(self):
        table = scores(
            row("a", psnr_db=20.0), row("b"), row("c", psnr_db=float("inf")), row("d", psnr_db=22.0)
        )
        summary = aggregate(table)[0]
        assert summary.n == 4
        assert summary.metrics["psnr_db"].n == 2 and summary.metrics["psnr_db"].mean == 21.0
        assert 20.0 <= summary.metrics["psnr_db"].low <= summary.metrics["psnr_db"].high <= 22.0

    def test_order_is_the_tables_with_sizes_ascending(self):
        table = scores(row("a", low_px=64), row("a", "z", low_px=16), row("a", low_px=16))
        names = [(s.condition.low_px, s.condition.method) for s in aggregate(table)]
        assert names == [(16, "bilinear"), (16, "z"), (64, "bilinear")]

    def test_equal_names_in_two_runs_are_two_samples(self):
        table = scores(row("a", psnr_db=20.0), row("a", run_id="r2", psnr_db=30.0))
        assert aggregate(table)[0].n == 2 and aggregate(table)[0].metrics["psnr_db"].mean == 25.0

    def test_no_rows(self):
        assert aggregate(SCORES.empty_table()) == []

    def test_a_missing_column_is_named(self):
        with pytest.raises(UsageError, match="no column ssim"):
            aggregate(TWO.drop_columns(["ssim"]))


class TestDifferences:
    def test_paired_by_hand(self):
        (difference,) = differences(TWO, "bilinear")
        assert difference.condition.method == "bicubic"
        assert difference.metrics["psnr_db"].mean == 2.0  # of +1 and +3
        assert (difference.metrics["psnr_db"].low, difference.metrics["psnr_db"].high) == (1.0, 3.0)

    def test_pairing_removes_what_samples_share(self):
        level = np.random.default_rng(2).normal(0, 10, 50)
        rows = [row(f"s{i}", psnr_db=float(v)) for i, v in enumerate(level)]
        rows += [row(f"s{i}", "bicubic", psnr_db=float(v + 1)) for i, v in enumerate(level)]
        estimate = differences(scores(*rows), "bilinear")[0].metrics["psnr_db"]
        assert (estimate.low, estimate.high) == pytest.approx((1.0, 1.0))

    def test_only_common_samples_count(self):
        table = scores(
            row("a", psnr_db=1.0), row("a", "bicubic", psnr_db=2.0), row("b", "bicubic", psnr_db=90.0)
        )
        estimate = differences(table, "bilinear")[0].metrics["psnr_db"]
        assert (estimate.mean, estimate.n) == (1.0, 1)

    def test_sizes_are_not_mixed(self):
        table = scores(row("a", psnr_db=1.0), row("a", "bicubic", low_px=32, psnr_db=2.0))
        assert differences(table, "bilinear") == []

    def test_unknown_baseline(self):
        with pytest.raises(UsageError, match="did you mean 'bicubic'"):
            differences(TWO, "bicubc")

    def test_default_baseline(self):
        assert default_baseline(["espcn", "bicubic"]) == "bicubic"
        assert default_baseline(["espcn"]) is None


def test_strata_by_hand():
    table = scores(
        row("a", yaw_deg=-70.0, skin_tone=0.1, subset="AFW"),
        row("b", yaw_deg=29.9, skin_tone=0.5, subset="IBUG"),
        row("c", yaw_deg=30.0, skin_tone=1.0, subset="AFW"),
        row("d"),
    )
    members = lambda by: {k: t["sample_id"].to_pylist() for k, t in strata(table, by).items()}  # noqa: E731
    assert members("yaw") == {"|yaw| < 30": ["b"], "|yaw| 30 to 60": ["c"], "|yaw| > 60": ["a"]}
    assert members("skin_tone") == {"light": ["a"], "medium": ["b"], "dark": ["c"]}
    assert members("subset") == {"AFW": ["a", "c"], "IBUG": ["b"]}
    with pytest.raises(UsageError, match="unknown stratum"):
        strata(table, "age")


class TestQuery:
    def test_views_of_a_run(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        answer = ask(tmp_path / "run", "select method, avg(psnr_db) as db from scores group by 1 order by 1")
        assert answer.columns == ("method", "db")
        assert answer.rows == [("bicubic", 27.0), ("bilinear", 25.0)]
        assert ask(tmp_path / "run", "select sample_id from samples").rows == [("a",), ("b",)]
        assert ask(tmp_path / "run", "select run_id, reason from failures").rows == [("r1", "empty-file")]
        sql = "select version, status, config->>'seed', weights->>'bilinear@16' from runs"
        assert ask(tmp_path / "run", sql).rows == [("9.9", "complete", "7", "abc")]

    def test_a_folder_of_runs(self, tmp_path):
        write_run(tmp_path / "one", TWO)
        write_run(tmp_path / "two", scores(row("c", run_id="r2", psnr_db=1.0)), "r2")
        write_run(tmp_path / "three", TWO, "r3", status="running")
        (tmp_path / "notes").mkdir()
        joined = "select r.run_id, count(s.sample_id) from runs r left join scores s using (run_id)"
        assert ask(tmp_path, f"{joined} group by 1 order by 1").rows == [("r1", 4), ("r2", 1), ("r3", 0)]
        assert read_scores(tmp_path).num_rows == 5

    @pytest.mark.parametrize(
        "sql",
        [
            "select * from read_csv('{secret}')",
            "select * from '{secret}'",
            "copy scores to '{new}'",
            "attach '{new}'",
            "export database '{new}'",
            "set enable_external_access = true",
            "install httpfs",
            "select * from table_of_python",
        ],
    )
    def test_sql_reaches_no_file_and_no_variable(self, tmp_path, sql):
        write_run(tmp_path / "run", TWO)
        secret, new = tmp_path / "secret.csv", tmp_path / "new"
        secret.write_text("a,b\n1,2\n")
        table_of_python = TWO
        assert table_of_python.num_rows == 4
        with pytest.raises(duckdb.Error):
            open_run(tmp_path / "run").execute(sql.format(secret=secret, new=new))
        assert not new.exists()

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("select * frm scores", "syntax error"),
            ("select nope from scores", "nope"),
            ("select * from score", "The views are scores, samples, failures, runs"),
            ("", "empty"),
            ("-- nothing", "empty"),
            ("select 1; select 2", "2 statements: ask one question at a time"),
            ("create table x as select 1", "CREATE asks nothing"),
            ("drop view scores", "DROP asks nothing"),
            ("with x as (select 1) insert into scores select * from x", "INSERT asks nothing"),
            ("set threads = 1", "SET asks nothing"),
        ],
    )
    def test_wrong_sql_is_one_line(self, tmp_path, sql, message):
        write_run(tmp_path / "run", TWO)
        with pytest.raises(UsageError, match=message) as caught:
            ask(tmp_path / "run", sql)
        assert "\n" not in str(caught.value) and caught.value.exit_status == 2

    @pytest.mark.parametrize(
        ("sql", "columns", "rows"),
        [
            ("with x as (select 1) select * from x;", [0], [(1,)]),
            (
                "from scores",
                ["sample_id", "method", "psnr_db"],
                [
                    ("a", "bicubic", 21.0),
                    ("a", "bilinear", 20.0),
                    ("b", "bicubic", 33.0),
                    ("b", "bilinear", 30.0),
                ],
            ),
            ("describe scores", ["column_name"], sorted((name,) for name in SCORES.names)),
            (
                "show tables",
                ["name"],
                [(name,) for name in ("_no_faces", "_no_files", "_no_stages", "faces", "failures", "files")]
                + [(name,) for name in ("runs", "samples", "scores", "stages")],
            ),
            (
                "summarize select psnr_db from scores",
                ["min", "max", "avg", "count"],
                [("20.0", "33.0", "26.0", 4)],
            ),
        ],
    )
    def test_every_kind_of_question(self, tmp_path, sql, columns, rows):
        write_run(tmp_path / "run", TWO)
        answer = ask(tmp_path / "run", sql)
        places = [answer.columns.index(one) if isinstance(one, str) else one for one in columns]
        assert sorted(tuple(row[place] for place in places) for row in answer.rows) == rows

    def test_an_explained_question_is_not_asked(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        plan = str(ask(tmp_path / "run", "explain select * from scores where psnr_db > 25").rows)
        assert "psnr_db>25" in plan.replace(" ", "") and "33.0" not in plan

    def test_pivot(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        answer = ask(tmp_path / "run", "pivot scores on method using avg(psnr_db) group by low_px")
        assert answer.columns == ("low_px", "bicubic", "bilinear") and answer.rows == [(16, 27.0, 25.0)]

    def test_outputs(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        answer = ask(tmp_path / "run", "select 'a,\"b' as name, null as gap, 'inf'::double as big, 1.5 as x")
        assert answer.as_csv() == 'name,gap,big,x\n"a,""b",,inf,1.5\n'
        assert json.loads(answer.as_json()) == [{"name": 'a,"b', "gap": None, "big": None, "x": 1.5}]
        header, rule, line = answer.as_text().splitlines()
        assert header.split() == ["name", "gap", "big", "x"] and set(rule) <= {"-", " "}
        assert line.split() == ['a,"b', "inf", "1.5"]

    def test_nested_values_in_json(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        sql = """select [1.5, 'nan'::double] as list, {'a': 'inf'::double, 'b': [2]} as struct,
            map {date '2026-01-31': '-inf'::double} as map, map {date '2026-01-31': 1.5::decimal} as m2"""
        (found,) = json.loads(ask(tmp_path / "run", sql).as_json())
        assert found["list"] == [1.5, None]
        assert found["struct"] == {"a": None, "b": [2]}
        assert found["map"] == {"2026-01-31": None}
        assert found["m2"] == {"2026-01-31": 1.5}

    @pytest.mark.parametrize(
        ("option", "output"),
        [
            ([], "method   db\n-------  --\nbicubic  27\n"),
            (["--csv"], "method,db\nbicubic,27.0\n"),
            (["--json"], '[\n  {\n    "method": "bicubic",\n    "db": 27.0\n  }\n]\n'),
        ],
    )
    def test_command(self, tmp_path, option, output):
        write_run(tmp_path / "run", TWO)
        sql = "select method, avg(psnr_db) as db from scores where method = 'bicubic' group by 1"
        result = CliRunner().invoke(facepipe, ["query", str(tmp_path / "run"), sql, *option])
        assert (result.exit_code, result.stdout) == (0, output)

    def test_two_forms_exclude_each_other(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        result = CliRunner().invoke(facepipe, ["query", str(tmp_path / "run"), "select 1", "--json", "--csv"])
        assert (result.exit_code, result.stdout) == (2, "") and "--csv and --json" in result.stderr

    def test_no_run(self, tmp_path):
        with pytest.raises(UsageError, match=r"a run folder holds run\.json"):
            ask(tmp_path, "select 1")
        with pytest.raises(UsageError, match="no such folder"):
            ask(tmp_path / "nowhere", "select 1")

    @pytest.mark.parametrize("use", [lambda path: ask(path, "select 1"), read_scores, result_table_text])
    def test_a_damaged_table(self, tmp_path, use):
        store = write_run(tmp_path / "run", TWO)
        store.scores_path.write_bytes(store.scores_path.read_bytes()[:-100])
        with pytest.raises(FacepipeError, match=r"scores\.parquet: not a readable Parquet file") as caught:
            use(tmp_path / "run")
        assert "repeat the command that made the run" in str(caught.value)
        assert caught.value.exit_status == 1

    @pytest.mark.parametrize("text", ["{", "[]", '{"format": -1}', ""])
    def test_a_damaged_run_json(self, tmp_path, text):
        store = write_run(tmp_path / "run", TWO)
        store.run_json_path.write_text(text)
        for path in (store.path, tmp_path):
            with pytest.raises(FacepipeError, match=r"run\.json: .*delete the folder") as caught:
                ask(path, "select 1")
            assert caught.value.exit_status == 1

    def test_a_damaged_run_among_others_is_left_out(self, tmp_path):
        write_run(tmp_path / "one", TWO)
        write_run(tmp_path / "two", TWO, "r2").run_json_path.write_text("{")
        result = CliRunner().invoke(facepipe, ["query", str(tmp_path), "select run_id from runs", "--csv"])
        assert (result.exit_code, result.stdout) == (0, "run_id\nr1\n")
        assert f"left out: {tmp_path / 'two' / 'run.json'}" in result.stderr
        assert read_scores(tmp_path).num_rows == 4

    def test_a_folder_that_may_not_be_entered_is_left_out(self, tmp_path, monkeypatch):
        write_run(tmp_path / "one", TWO)
        (tmp_path / "private").mkdir()
        stat = Path.stat

        def refuse(path, **options):  # root may enter every folder
            if path.parent == tmp_path / "private":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return stat(path, **options)

        monkeypatch.setattr(Path, "stat", refuse)
        result = CliRunner().invoke(facepipe, ["query", str(tmp_path), "select run_id from runs", "--csv"])
        assert (result.exit_code, result.stdout) == (0, "run_id\nr1\n")
        assert result.stderr.count(f"left out: {tmp_path / 'private'}: Permission denied") == 1
        assert read_scores(tmp_path).num_rows == 4

    def test_a_damaged_archive_beside_a_run_is_left_out(self, tmp_path):
        write_run(tmp_path / "one", TWO)
        (tmp_path / "archive").mkdir()
        (tmp_path / "archive" / "archive.json").write_text("{")
        result = CliRunner().invoke(facepipe, ["query", str(tmp_path), "select run_id from runs", "--csv"])
        assert (result.exit_code, result.stdout) == (0, "run_id\nr1\n")
        assert f"left out: {tmp_path / 'archive' / 'archive.json'}" in result.stderr
        with pytest.raises(UsageError, match=r"archive\.json: cannot be read"):
            ask(tmp_path / "archive", "select 1")


class TestTable:
    def test_text(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        lines = result_table_text(tmp_path / "run", styled=False).splitlines()
        assert lines[0] == "images only"
        assert "25.00 ±5.00" in lines[2] and "27.00 ±6.00*" in lines[3]
        assert "0.600 ±0.100" in lines[2]

    def test_columns_that_do_not_fit_are_named(self, tmp_path):
        write_run(tmp_path / "run", TWO)
        text = result_table_text(tmp_path / "run", width=42, styled=False)
        assert "ssim ↑" not in text and "no room for ssim" in " ".join(text.split())
        assert max(map(len, text.splitlines())) <= 42

    def test_landmark_error_is_there_where_it_is_the_only_truth(self, tmp_path):
        images = {"psnr_db": 20.0, "ssim": 0.5, "ref_iou": 0.9, "ref_depth_rmse_px": 1.0}
        write_run(tmp_path / "run", scores(row("a", landmark_depth_nme=0.125, **images)))
        text = result_table_text(tmp_path / "run", width=80, styled=False)
        assert "landmark_depth_nme ↓" in text and "0.125" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_every_metric_that_fits_is_shown_whole(self, tmp_path):
        values = dict.fromkeys(TABLE_METRICS, 10.25)
        table = scores(row("a", **values), row("b", **dict.fromkeys(TABLE_METRICS, 30.75)))
        write_run(tmp_path / "run", table)
        counts = []
        for width in (40, 80, 140, 220):
            heading, line = result_table_text(tmp_path / "run", width=width, styled=False).splitlines()[1:3]
            assert len(heading) <= width and len(line) <= width and "…" not in heading + line
            counts.append(heading.count("↑") + heading.count("↓"))
            assert line.count("±10.25") == counts[-1]
        assert counts == sorted(set(counts)) and counts[-1] == len(TABLE_METRICS)

    def test_single_sample_and_unfinished_run(self, tmp_path):
        write_run(tmp_path / "one", scores(row("a", psnr_db=20.0)))
        assert "20.00\n" in result_table_text(tmp_path / "one", styled=False)
        assert "20.00 ±" not in result_table_text(tmp_path / "one", styled=False)
        write_run(tmp_path / "two", TWO, status="running")
        assert "no scores yet" in result_table_text(tmp_path / "two", styled=False)

    def test_names_are_not_markup(self, tmp_path):
        write_run(tmp_path / "run", scores(row("a", "[red]m", psnr_db=20.0)))
        assert "[red]m" in result_table_text(tmp_path / "run", styled=False)

    def test_a_regressor_that_finds_nothing_is_named_and_never_best(self, tmp_path):
        rows = [
            row(sample, method, regressor="blind", psnr_db=psnr_db)
            for sample in ("a", "b")
            for method, psnr_db in (("bilinear", 20.0), ("bicubic", 10.0))
        ]
        seeing = row("a", regressor="seeing", psnr_db=20.0, ref_iou=0.0)
        write_run(tmp_path / "run", scores(*rows, seeing))
        blind, rest = result_table_text(tmp_path / "run", styled=False).split("regressor seeing\n")
        assert blind.startswith("regressor blind\n")
        assert blind.count("*") == 1 and "20.00 ±0.00*" in blind
        assert "warning: regressor blind finds nothing" in rest and "regressor seeing" not in rest
        write_run(tmp_path / "images", TWO)
        assert "warning" not in result_table_text(tmp_path / "images", styled=False)
