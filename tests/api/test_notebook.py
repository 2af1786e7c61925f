"""docs/notebook.ipynb runs from top to bottom and shows its figures."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"


@pytest.mark.slow
# The kernel's own sockets and event loop are none of ours.
@pytest.mark.filterwarnings("ignore")
def test_the_notebook_runs_and_has_figures() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.get("outputs", []).clear()
    NotebookClient(notebook, timeout=400, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    assert sum(map(_figures, notebook.cells)) == 3
    printed = "".join(
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream"
    )
    assert "closed: True" in printed and "regressor vrn-compact" in printed and "PSNR: " in printed


def _figures(cell: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))
