"""A process that puts pictures: `python -m tests.adapters.put_process`, its orders as JSON on standard input.

Orders: `location`, `options`, `paths`, `text`; with `deadly` it ends by SIGKILL before that step of the first
put. Writes `ready`, waits for a line, and writes the paths that it got as JSON.
"""

from __future__ import annotations

import json
import sys

from adapters.picture_stores import open_pictures
from adapters.pictures.picture_options import PictureOptions
from lineage.errors import PathTaken
from lineage.picture_store import PictureStore
from tests.support.kill_steps import KillSteps


def _put(pictures: PictureStore, path: str, data: bytes) -> bool:
    try:
        pictures.put(path, data, {})
    except PathTaken:
        return False
    return True


def main() -> None:
    """Do as ordered."""
    orders = json.loads(sys.stdin.readline())
    pictures = open_pictures(orders["location"], PictureOptions(**orders["options"]))
    pictures.check()
    steps = KillSteps(orders.get("deadly", 0))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    if "deadly" in orders:
        steps.watch()
        steps.begin()
    got = [path for path in orders["paths"] if _put(pictures, path, orders["text"].encode())]
    steps.end()
    sys.stdout.write(f"{json.dumps(got)}\n")


if __name__ == "__main__":
    main()
