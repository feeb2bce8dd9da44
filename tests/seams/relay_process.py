"""A relay of a PostgreSQL store in a process of its own, to be killed and stopped: `python relay_process.py URL_FILE SERVICE`.

Says `open`, then follows, and says `fenced` when it was replaced.
"""

from __future__ import annotations

import sys
from pathlib import Path

from freehold.errors import FencedError
from freehold.outbox.postgres import PostgresOutbox


def main() -> None:
    source = PostgresOutbox(Path(sys.argv[1]).read_text(), sys.argv[2])
    assert source.open()
    for _ in source.sweep():
        pass
    print("open", flush=True)
    try:
        while True:
            source.follow(0.1)
    except FencedError:
        print("fenced", flush=True)


if __name__ == "__main__":
    main()
