"""One kind of path for every option, configuration key and flow parameter.

`~` is a home, and a relative path starts from the folder of the command: workers run elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def absolute(path: str | os.PathLike[str]) -> Path:
    """A path as its user meant it, absolute. Links and '..' stay; the '~' of nobody is a plain character."""
    named = Path(path)
    try:
        return named.expanduser().absolute()
    except RuntimeError:
        return named.absolute()


UserPath = Annotated[Path, AfterValidator(absolute)]
"""A path in a configuration or a flow's parameters."""
