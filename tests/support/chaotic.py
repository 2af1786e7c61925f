"""`facepipe bench` or `surveil` on what misbehaves, as a process that a monkey can torment.

    python tests/chaotic.py bench TRACES SETTINGS BENCH-OPTIONS... --out RUN
    python tests/chaotic.py surveil TRACES SETTINGS INBOX SURVEIL-OPTIONS... --out ARCHIVE

TRACES is the folder of a `FaultyDataset` or a `Watcher`, SETTINGS the other fields as JSON. While
TRACES.switch is there, RUN or ARCHIVE cannot be written (`baddisk`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import baddisk

if __name__ == "__main__":
    from faulty import FaultyDataset
    from watchers import Watcher

    from facepipe.bench import run_folder
    from facepipe.cli import main
    from facepipe.surveil import rules

    command, traces, settings = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    if command == "bench":
        run_folder.open_dataset = lambda *_, **__: FaultyDataset(traces, **fields)
        sys.argv[1:] = ["bench", "--dataset", "faulty", *sys.argv[4:]]
    else:
        rules.open_detector = lambda _: Watcher(traces=traces, **fields)
        sys.argv[1:] = ["surveil", *sys.argv[4:]]
    baddisk.arm(Path(sys.argv[-1]), traces.with_suffix(".switch"))
    main()
else:
    baddisk.obey()  # a worker: it runs this file once more, under another name
