"""The command line as a new user meets it: what helps say, and how wrong input is answered."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from facepipe.cli import COMMANDS, facepipe
from facepipe.core.errors import UsageError


def answer(line: str) -> str:
    """The error of a command line that must be wrong usage."""
    done = CliRunner().invoke(facepipe, shlex.split(line))
    assert done.exit_code == 2 or isinstance(done.exception, UsageError), (done.output, done.exception)
    return f"{done.stderr}{done.exception}"


def test_the_list_of_commands_says_of_groups_what_they_say_of_themselves() -> None:
    context = click.Context(facepipe)
    groups = {name: facepipe.get_command(context, name) for name in COMMANDS}
    said = {name: group.help for name, group in groups.items() if isinstance(group, click.Group)}
    assert said == {name: COMMANDS[name][1] for name in ("data", "models", "train")}


@pytest.mark.parametrize("group", ["data", "models", "train"])
def test_no_summary_of_a_command_is_cut_off(group: str) -> None:
    _, commands = CliRunner().invoke(facepipe, [group, "--help"]).stdout.split("Commands:")
    assert "..." not in commands


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bench --low-px 16,abc", "--low-px: expected a whole number, got 'abc'"),
        ("bench --model {folder}/nowhere", "--model {folder}/nowhere: no such file or folder"),
        ("bench --subsets x", "sample has no subsets"),
        ("bench --config nowhere.yaml", "nowhere.yaml: cannot read the configuration: No such file"),
        (
            "models evaluate vrn-compct --faces 1",
            "unknown weights 'vrn-compct' (did you mean 'vrn-compact'?)",
        ),
        ("models evaluate vrn-compact --dataset sample --limit 0", "'--limit': 0 is not in the range"),
        ("models evaluate vrn-compact", "give either --dataset DIR or --faces N"),
        ("train vrn --steps 1 --out {file}/x", "no folder can be there: Not a directory"),
        ("train superres --scale 4 --steps 1 --seed -1 --out {folder}/x", "--seed 0 or more"),
        ("status {file}", "no run here"),
        ("data synthesize --n 1 --out {folder}", "holds other files"),
    ],
)
def test_wrong_usage(tmp_path: Path, line: str, expected: str) -> None:
    file = tmp_path / "file"
    file.touch()
    assert expected.format(folder=tmp_path) in answer(line.format(file=file, folder=tmp_path))
    assert list(tmp_path.iterdir()) == [file]
