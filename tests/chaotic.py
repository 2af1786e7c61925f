"""`facepipe bench` on a data set that misbehaves, as a process that a monkey can torment.

    python tests/chaotic.py TRACES SETTINGS BENCH-OPTIONS...

TRACES is the folder of a `FaultyDataset`, SETTINGS its other fields as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faulty import FaultyDataset

from facepipe import preparing
from facepipe.cli import main

if __name__ == "__main__":
    traces, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    preparing.open_dataset = lambda *_, **__: FaultyDataset(traces, **fields)
    sys.argv[1:] = ["bench", "--dataset", "faulty", *sys.argv[3:]]
    main()
