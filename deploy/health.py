"""Is the service of this container well? Asks HEALTH_URL; exit status 0 if it answers 200, else 1."""

from __future__ import annotations

import os
import sys
import urllib.request

TIMEOUT_SECONDS = 5


def main() -> int:
    """Ask once; say on stderr what is wrong."""
    url = os.environ["HEALTH_URL"]
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status == 200:
                return 0
            print(f"{url}: status {answer.status}", file=sys.stderr)
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
