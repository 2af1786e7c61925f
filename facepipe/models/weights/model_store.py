"""The model store: weights that ship with facepipe, and weights that were imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from facepipe.core.errors import UsageError, WeightsError
from facepipe.core.paths import absolute
from facepipe.models.weights.info import Kind
from facepipe.models.weights.weights_file import WeightsFile, open_weights

SUFFIX = ".safetensors"


def shipped_folder() -> Path:
    """The folder of the weights that come with facepipe."""
    return Path(__file__).resolve().parents[2] / "data" / "weights"


def imported_folder() -> Path:
    """The folder of imported weights: ``$FACEPIPE_HOME/weights``, else in the user's data folder."""
    home = os.environ.get("FACEPIPE_HOME")
    return (absolute(home) if home else _user_data_folder()) / "weights"


def _user_data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "facepipe"
    if sys.platform == "darwin":
        return Path("~/Library/Application Support/facepipe").expanduser()
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "facepipe"


def list_weights(kind: Kind | None = None) -> list[WeightsFile]:
    """List the readable weights, shipped ones first, each group by name; `broken_weights` has the rest."""
    found = []
    for path, shipped in _paths():
        try:
            file = open_weights(path, shipped=shipped)
        except WeightsError:
            continue
        if kind in (None, file.info.kind):
            found.append(file)
    return found


def broken_weights() -> dict[Path, str]:
    """The files among shipped and imported weights that cannot be used, and why."""
    broken = {}
    for path, shipped in _paths():
        try:
            open_weights(path, shipped=shipped)
        except WeightsError as error:
            broken[path] = str(error)
    return broken


def find_weights(name: str, kind: Kind) -> WeightsFile | None:
    """Return the weights of a name and kind, or None if there is no such file.

    Raises:
        WeightsError: there is a file of that name, and it is damaged.
    """
    for path, shipped in _paths():
        if path.stem == name:
            file = open_weights(path, shipped=shipped)
            return file if file.info.kind == kind else None
    return None


def remove_weights(name: str) -> Path:
    """Delete imported weights, usable or not, and their card.

    Returns:
        The file that was deleted.

    Raises:
        UsageError: they come with facepipe, or there are none of that name.
    """
    imported = {path.name.removesuffix(SUFFIX): path for path, shipped in _paths() if not shipped}
    if name not in imported:
        if any(path.stem == name for path, shipped in _paths() if shipped):
            raise UsageError(f"{name}: comes with facepipe; only imported weights are removed")
        known = ", ".join(imported) or "none"
        raise UsageError(f"unknown imported weights {name!r}; known: {known}")
    path = imported[name]
    path.unlink()
    path.with_suffix(".md").unlink(missing_ok=True)
    return path


def _paths() -> list[tuple[Path, bool]]:
    folders = ((shipped_folder(), True), (imported_folder(), False))
    return [(path, shipped) for folder, shipped in folders for path in sorted(folder.glob(f"*{SUFFIX}"))]
