"""The files of the metrics of all workers, one set for each worker number, and their sum.

A worker that takes the number of one that has ended counts on in its files, so that nothing is lost and
their number does not grow. The library adds up the files of all.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

logger = logging.getLogger("bentoml.okawari.metrics")

#: Bytes of one file, enough for every label that may come.
FILE_BYTES = 1_048_576
_LIVE = "gauge_live"
_KINDS = ("counter", "histogram", "gauge_mostrecent", f"{_LIVE}sum", f"{_LIVE}max")


def share(folder: Path, worker: int) -> bool:
    """Keep metrics in files that all workers and later ones read; False where the disk has no room.

    Called before the first metric is made. No other living process may have the number `worker`.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return False
    try:
        for kind in _KINDS:
            _prepare(folder / f"{kind}_{worker}.db", fresh=kind.startswith(_LIVE))
    except OSError as error:
        logger.warning("no room for shared metrics, this worker shows its own alone: %s", error)
        values.ValueClass = values.MutexValue
        return False
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    return True


def _prepare(file: Path, *, fresh: bool) -> None:
    """Make a file if absent, or forget what it holds if `fresh`.

    It appears whole, since an empty one cannot be read; and its bytes are written before the library maps
    them, since a hole in a file on a full disk would end the process that touches it.
    """
    if not file.exists():
        made = file.with_name(f".{file.name}")
        made.write_bytes(bytes(FILE_BYTES))
        made.replace(file)
    elif fresh:
        with file.open("r+b") as opened:
            opened.write(bytes(8))  # the number of bytes that are used


class AllWorkers(Collector):
    """The metrics in all files of `folder`; of live gauges those whose worker `lives`, by its number."""

    def __init__(self, folder: Path, lives: Callable[[int], bool]) -> None:
        self._folder = folder
        self._lives = lives

    def collect(self) -> Iterable[Metric]:
        """The sums."""
        files = [str(file) for file in self._folder.glob("*.db") if self._counts(file.stem)]
        found: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return found

    def _counts(self, name: str) -> bool:
        return not name.startswith(_LIVE) or self._lives(int(name.rpartition("_")[2]))
