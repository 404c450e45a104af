"""Write the dashboards anew: `make dashboards`, or `python -m scripts.dashboards [FOLDER]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.dashboards import memory, storage, streams, swaps, traffic

FOLDER = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
DASHBOARDS = (
    traffic.DASHBOARD,
    swaps.DASHBOARD,
    memory.DASHBOARD,
    storage.DASHBOARD,
    streams.DASHBOARD,
)


def main(words: Sequence[str]) -> int:
    """Write every dashboard, and remove files that are none any more; the exit code."""
    folder = Path(words[0]) if words else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.json"):
        file.unlink()
    for each in DASHBOARDS:
        (folder / f"{each.name}.json").write_text(each.document())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
