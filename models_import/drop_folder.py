"""A watched folder: its versions come into the store when they are whole, or get a note that says why not."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from common.files import write_atomically
from common.text import plain
from manifest.version_manifest import BadManifest
from models_import import candidates, drop_scan, model_yaml
from models_import.candidates import Candidate, Wanted
from models_import.drop_scan import Dropped, DropScan
from models_import.errors import ImportRefused, ImportUnavailable
from models_import.importer import Hook, Importer
from models_import.integrity import QUIET_SECONDS
from models_import.pointer import is_behind
from models_import.progress import ImportProgress, summary, warnings_of
from models_import.validation import digest_of_files

logger = logging.getLogger("okawari.drop")

#: Seconds without any change after which what cannot be imported gets its note.
SETTLED_SECONDS = 10.0
#: Seconds between two scans where no events come, and the part of its time that scanning may take.
_POLL = 2.0
_SHARE = 0.05
#: Changes that come faster are looked at together.
_GATHER = 0.2
_LONGEST_BACKOFF = 60.0

Step = Literal["rest", "try", "note"]


@dataclass(slots=True)
class Case:
    """What is known of one entry, as its files are since `since`.

    `reason` is why it did not come in, `retry_at` when it is tried again although nothing changed; `tries`
    counts since it last came in, `noted` says that its note was written, or could not be. `stored`: the store
    had a version by its tag when it was refused.
    """

    stamp: str
    since: float
    tries: int = 0
    reason: str | None = None
    retry_at: float = math.inf
    stored: bool = False
    done: bool = False
    noted: bool = False


def decide(case: Case, lacks: str | None) -> tuple[Step, float]:
    """What is to be done with an entry next, and when. Pure."""
    if case.done:
        return "rest", math.inf
    if lacks is None and case.reason is None:
        # Who copies with long stops is not tried at each of them.
        return "try", case.since + min(SETTLED_SECONDS, QUIET_SECONDS * 2 ** min(case.tries, 10))
    note_at = math.inf if case.noted else case.since + SETTLED_SECONDS
    if lacks is None and case.retry_at < note_at:
        return "try", case.retry_at
    return ("note", note_at) if note_at < math.inf else ("rest", math.inf)


class _Log(ImportProgress):
    def waiting(self, what: str) -> None:
        logger.info("waiting for %s", what)


class DropFolder:
    """Brings what is put into `folder` into the store of `home`. One thread's, which may be interrupted."""

    def __init__(
        self,
        folder: Path,
        home: Path,
        *,
        make: Callable[..., Importer] = Importer,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        at: Hook = lambda _step: None,
    ) -> None:
        self.folder = folder
        #: The folders whose events report changes.
        self.folders: list[Path] = [folder]
        #: Seconds that should pass between two scans, however much changes.
        self.pause = _GATHER
        self._home = home
        self._make = make
        self._clock = clock
        self._now = now
        self._hook = at
        self._cases: dict[str, Case] = {}
        self._away = False

    def turn(self) -> float:
        """Scan once and do what is due; return the seconds until there is more to do."""
        began = time.perf_counter()
        scan = drop_scan.look(self.folder)
        took = (time.perf_counter() - began) / _SHARE
        self.pause, wait = max(_GATHER, took), max(_POLL, took)
        self._log_presence(scan is None)
        if scan is None:
            return wait
        self.folders = scan.folders
        self._cases = {path: self._case(path, dropped) for path, dropped in scan.entries.items()}
        return min(wait, self._act(scan))

    def _log_presence(self, away: bool) -> None:
        if away and not self._away:
            logger.warning("%s is away or cannot be read; waiting for it", self.folder)
        if self._away and not away:
            logger.info("%s is there again", self.folder)
        self._away = away

    def _act(self, scan: DropScan) -> float:
        """Notes, and one import, in natural order; the next begins with a fresh scan."""
        soonest, now = math.inf, self._clock()
        tried = False
        for path, dropped in scan.entries.items():
            case = self._cases[path]
            step, when = decide(case, dropped.lacks)
            if when > now or (step == "try" and tried):
                soonest = min(soonest, when)
            elif step == "note":
                self._write_note(dropped, case)
            elif step == "try":
                tried = True
                self._try(dropped, case)
        return 0.0 if tried else max(0.0, soonest - now)

    def _case(self, path: str, dropped: Dropped) -> Case:
        """What is known of an entry; begun anew when its files, or what hinders it in the store, changed."""
        case = self._cases.get(path)
        if case is None or case.stamp != dropped.stamp:
            logger.debug("%s has changed; %s", dropped, dropped.lacks or "it may be whole")
            return Case(dropped.stamp, self._clock(), tries=case.tries if case and not case.done else 0)
        if case.reason is not None and case.stored != self._is_stored(dropped):
            case.reason, case.noted, case.retry_at = None, False, math.inf
        return case

    def _is_stored(self, dropped: Dropped) -> bool:
        tag = dropped.tag
        return tag is not None and os.path.lexists(self._home / "models" / tag.name / tag.version)

    def _try(self, dropped: Dropped, case: Case) -> None:
        case.tries += 1
        try:
            self._bring(dropped)
            case.done = True
            self._take_back(dropped)
        except ImportRefused as refused:
            self._refused(dropped, case, str(refused), hindered=isinstance(refused, ImportUnavailable))
        except Exception as error:
            logger.exception("an unexpected error in the import of %s", dropped)
            why = f"{type(error).__name__}: {plain(str(error), 500)}"
            self._refused(dropped, case, why, hindered=False)

    def _bring(self, dropped: Dropped) -> None:
        if self._is_known(dropped):
            logger.debug("%s is in the store already, with the same files", dropped.tag)
            return
        logger.info("importing %s", dropped)
        importer = self._make(self._home, report=_Log(), at=lambda step: self._before(step, dropped))
        imported = importer.run(Candidate(dropped.path, Wanted(), named=False))
        logger.info("%s", summary(imported))
        for warning in warnings_of(imported):
            logger.warning("%s", warning)

    def _is_known(self, dropped: Dropped) -> bool:
        """Whether an import would change nothing: the store has these very files, and `latest` is right."""
        if dropped.tag is None or not self._is_stored(dropped):
            return False
        shelf = self._home / "models" / dropped.tag.name
        try:
            stored = model_yaml.read(shelf / dropped.tag.version)
            opened = candidates.open_folder(dropped.path, Wanted(), dropped.path)
            if stored.manifest is None or opened.tag != dropped.tag or is_behind(shelf, stored.created):
                return False
            return stored.manifest.digest == digest_of_files(opened.files)
        except (OSError, BadManifest, ImportRefused, ValueError):
            return False

    def _before(self, step: str, dropped: Dropped) -> None:
        """Checks before steps of an import: what it reads must be what was found at rest."""
        if step == "open" and (missing := drop_scan.unwritten(dropped)) is not None:
            raise ImportRefused(f"{dropped}: {missing}")
        if step == "compare" and drop_scan.has_changed(self.folder, dropped):
            raise ImportUnavailable(f"{dropped}: its files changed while they were copied")
        self._hook(step)

    def _refused(self, dropped: Dropped, case: Case, why: str, *, hindered: bool) -> None:
        why = plain(" ".join(why.split()), 4000)
        case.noted &= why == case.reason
        case.reason, case.retry_at, case.stored = why, math.inf, self._is_stored(dropped)
        again = "when its files change"
        if hindered:
            delay = min(_LONGEST_BACKOFF, 2.0 ** min(case.tries, 10))
            case.retry_at = self._clock() + delay
            again = f"in {delay:g} s"
        logger.warning("not imported, tried again %s: %s", again, why)

    def _write_note(self, dropped: Dropped, case: Case) -> None:
        case.noted = True
        why = case.reason or dropped.lacks or "unknown"
        if not dropped.possible:
            logger.warning("%s is passed over: %s", dropped, plain(why, 2000))
            return
        if case.reason is None:
            logger.warning("not imported, tried again when its files change: %s: %s", dropped, why)
        what = plain(str(dropped.tag or dropped.path.name), 200)
        text = drop_scan.text(what, why, self._now(), hindered=case.retry_at < math.inf)
        try:
            write_atomically(dropped.note, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            logger.warning("no note can be written beside %s: %s", dropped, error.strerror or error)
        else:
            logger.info("wrote the note of %s", dropped)

    def _take_back(self, dropped: Dropped) -> None:
        try:
            if drop_scan.take_back(dropped.note):
                logger.info("took back the note of %s", dropped)
        except OSError as error:
            logger.warning("the note of %s cannot be removed: %s", dropped, error.strerror or error)
