"""Sends a folder of pictures to the detection server, over a line that may be bad.

usage: python client.py [--config config.yaml] [--once]         (needs httpx and pyyaml)

Each picture goes into a spool before it is sent, and leaves it only after the server has said that it
keeps it: a loss of power costs none. The time of a picture is that of its last change.

Exit codes: 0 ended by a signal, or all delivered with --once; 2 wrong configuration; 3 token refused.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
from detection_server import DetectionServer, NoBatches, PictureRefused, TryLater
from edge_config import BadSetup, EdgeConfig, TokenRefused, read_config
from picture_spool import PictureSpool, SpoolEntry

logger = logging.getLogger("edge")

SUFFIXES = (".jpg", ".jpeg", ".png")
_LEAST_PAUSE = 0.05
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 300.0


class EdgeClient:
    """Takes pictures in and delivers them, one step after another, in one thread."""

    def __init__(
        self,
        config: EdgeConfig,
        spool: PictureSpool,
        server: DetectionServer,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._config, self._spool, self._server = config, spool, server
        self._clock, self._chance = clock, chance
        self._seen: dict[str, tuple[os.stat_result, float]] = {}
        self._newest: str | None = None
        self._singly: set[str] = set()
        self._held: set[str] = set()
        self._batch = self._most = config.batch_size
        self._failures = 0
        self.not_before = clock()

    def run(self, ending: threading.Event, *, once: bool) -> None:
        """Work until `ending`; with `once` until folder and spool are empty."""
        while not ending.is_set():
            waiting = self.take_in()
            is_empty = not self.deliver()
            if once and is_empty and not waiting:
                return
            pause = self._config.poll_sec if is_empty else self.not_before - self._clock()
            if pause > 0:
                ending.wait(min(pause, max(_LEAST_PAUSE, self._config.poll_sec)))

    def take_in(self) -> bool:
        """Move pictures that are whole into the spool; whether some are left in the folder."""
        before, self._seen = self._seen, {}
        for picture in self._pictures():
            if self._spool.bytes >= self._config.spool_max_mb * 1e6:
                logger.warning("the spool is full: pictures stay in %s", self._config.folder)
                return True
            try:
                self._look(picture, before.get(picture.name))
            except OSError as error:  # it has gone, may not be read, or the disk is full
                logger.warning("%s stays where it is: %s", picture.name, error)
        return bool(self._seen)

    def _pictures(self) -> Iterator[Path]:
        if not self._config.folder.is_dir():
            return
        with os.scandir(self._config.folder) as found:
            names = sorted(each.name for each in found if each.is_file(follow_symlinks=False))
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES and not name.startswith("."):
                yield self._config.folder / name

    def _look(self, picture: Path, before: tuple[os.stat_result, float] | None) -> None:
        now, since = picture.stat(), self._clock()
        if before and (before[0].st_mtime_ns, before[0].st_size) == (now.st_mtime_ns, now.st_size):
            since = before[1]
        name = None
        if self._clock() - since >= self._config.settle_sec:
            name = self._spool.add(picture, now)
        if name is None:
            self._seen[picture.name] = now, since
        else:
            self._newest = max(name, self._newest or "")

    def deliver(self) -> bool:
        """Try to send one picture or one batch, unless it is too early; whether any are waiting."""
        if self._clock() < self.not_before:
            return True
        names = self._spool.names()
        if not names:
            return False
        try:
            self._step(names)
        except TryLater as error:
            self._batch = max(1, self._batch // 2)  # less may pass; each success doubles it again
            self._wait(str(error), error.after)
        else:
            self._failures = 0
        return True

    def _step(self, names: Sequence[str]) -> None:
        """The newest picture first, since somebody may wait for it; then those that batches failed.

        One that the server could not take goes behind all others: it may be the picture's fault.
        """
        self._singly &= set(names)
        self._held &= set(names)
        names = [name for name in names if name not in self._held] or names
        newest, self._newest = self._newest, None
        single = newest if newest in names else next((name for name in names if name in self._singly), None)
        if single is None and min(self._batch, len(names)) == 1:
            single = names[0]
        if single is not None:
            self._send(single)
        else:
            self._send_batch(names)

    def _send(self, name: str) -> None:
        entry = self._spool.entry(name)
        if entry is None:
            return
        try:
            found = self._server.send(entry)
        except PictureRefused as refused:
            logger.error("%s is refused for good: %s", entry.filename, refused)
            self._spool.refuse(name, str(refused))
        except TryLater:
            self._held.add(name)
            raise
        else:
            logger.info("%s delivered: %s", entry.filename, found)
            self._spool.remove(name)
            self._batch = min(self._most, 2 * self._batch)
        self._singly.discard(name)

    def _send_batch(self, names: Sequence[str]) -> None:
        read = (self._spool.entry(name) for name in names[: self._batch])
        entries = [entry for entry in read if entry is not None]
        if not entries:
            return
        kept: list[SpoolEntry] = []
        try:
            kept = self._server.send_batch(entries)
        except NoBatches as refused:
            logger.warning("pictures are sent singly from now on: %s", refused)
            self._most = self._batch = 1
        except PictureRefused as refused:
            logger.warning("a batch is refused, its pictures are sent singly: %s", refused)
        for entry in kept:
            self._spool.remove(entry.name)
        if kept:
            self._batch = min(self._most, 2 * self._batch)
        self._singly |= {entry.name for entry in entries if entry not in kept}
        logger.info("%d of %d pictures delivered in a batch", len(kept), len(entries))

    def _wait(self, why: str, after: float) -> None:
        """Try again later: twice as long after each failure, never all devices at once."""
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(self._failures, 20)) * (0.5 + self._chance() / 2)
        delay = max(delay, after * (1 + self._chance() / 10))
        self._failures += 1
        self.not_before = self._clock() + delay
        logger.warning("nothing delivered, next try in %.1f s: %s", delay, why)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(description="Send a folder of pictures to the detection server.")
    parser.add_argument("--config", type=Path, default=Path(__file__).with_name("config.yaml"))
    parser.add_argument("--once", action="store_true", help="end when everything is delivered")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    try:
        config = read_config(given.config)
        spool = PictureSpool(config.spool, config.spool.parent / "refused")
        with contextlib.closing(spool), httpx.Client() as http:
            EdgeClient(config, spool, DetectionServer(config, http)).run(ending, once=given.once)
    except BadSetup as error:
        logger.critical("%s", error)
        return 2
    except TokenRefused as error:
        logger.critical("%s; nothing is lost, %s keeps what was not delivered", error, config.spool)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
