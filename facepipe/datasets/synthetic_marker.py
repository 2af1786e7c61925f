"""The marker file of synthesized data sets, which have 300W-LP's layout.

In such a folder `Shape_Para` and `Exp_Para` of each .mat are coefficients of the project's own head, and
`skin_tone` is 0 (lightest) to 1 (darkest).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from facepipe.core.errors import UsageError

MARKER_FILE = "facepipe-faces.json"
"""Lies beside the folders of the sets."""


@dataclass(frozen=True)
class Marker:
    """What a folder of synthesized faces says of itself.

    Attributes:
        head: name of the head that the coefficients belong to (`facepipe.geometry.head.HEAD_NAME`).
        image_px: side of every image, to which the .mat files refer.
    """

    head: str
    image_px: int

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=2) + "\n"


def parse_marker(text: str | bytes, name: str) -> Marker:
    """Read a marker; keys that it does not know are left to other readers.

    Args:
        text: of the file.
        name: what to call it in messages.

    Raises:
        UsageError: it is damaged.
    """
    try:
        values = json.loads(text)
        head, image_px = values["head"], values["image_px"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{name}: no marker of synthesized faces ({error!r}); synthesize them again"
        ) from error
    if not isinstance(head, str) or not isinstance(image_px, int) or image_px <= 0:
        raise UsageError(
            f"{name}: 'head' and 'image_px' are {head!r} and {image_px!r}; synthesize them again"
        )
    return Marker(head, image_px)
