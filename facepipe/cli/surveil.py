"""`facepipe surveil`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from facepipe.cli.options import config_from, options_from
from facepipe.core.errors import UsageError
from facepipe.core.path_option import PATH
from facepipe.surveil.config import SurveilConfig


@click.command()
@click.argument("inbox", required=False, type=PATH)
@options_from(SurveilConfig, leave_out=("inbox",))
@click.option("--config", "config_file", type=PATH, help="YAML file of these options.")
def surveil(config_file: Path | None, inbox: Path | None, **options: Any) -> None:
    """Find, restore and reconstruct the faces in the images and videos of INBOX, each input once.

    Rows, restored images, volumes and meshes go to the archive in --out. The same command goes on where it
    was interrupted, and does only what is new in the inbox. Options on the command line win over those of
    --config; INBOX and --out are needed in one of these places.

    Example: facepipe surveil inbox --out archive --per-second 2 --retain-days 30
    """
    missing = [name for name, value in (("INBOX", inbox), ("--out", options["out"])) if value is None]
    if missing and config_file is None:
        raise UsageError(f"{' is needed, '.join(missing)} is needed: `facepipe surveil INBOX --out ARCHIVE`")
    _run(config_from(SurveilConfig, config_file, {"inbox": inbox, **options}))


def _run(config: SurveilConfig) -> None:
    from facepipe.core.progress import progress
    from facepipe.surveil.archive import Archive
    from facepipe.surveil.driver import check, run

    check(config)
    archive = Archive(config.out)
    with archive.lock(config.wait):
        summary = run(config, archive, progress)
    for line in summary.lines():
        click.echo(line)
    click.echo(f"`facepipe query {config.out} 'select * from faces'` shows the rows")
