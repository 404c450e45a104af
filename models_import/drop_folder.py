"""What is known of one version in a drop folder, and what is to be done with it next. Pure."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from common.text import plain
from hotswap.manifest import BadManifest, FileEntry, digest_of
from models_import import candidates, drop_scan, model_yaml
from models_import.candidates import Candidate, Wanted
from models_import.drop_scan import Dropped, DropScan, look, scan_of, unwritten
from models_import.errors import ImportRefused, ImportUnavailable
from models_import.fingerprints import Stamp, sha256_of, stamp_of
from models_import.importer import Hook, Importer
from models_import.integrity import QUIET_SECONDS
from models_import.progress import ImportProgress, summary

#: Seconds without any change after which what cannot be imported gets its note.
SETTLED_SECONDS = 10.0

Step = Literal["rest", "try", "note"]


@dataclass(slots=True)
class Case:
    """What is known of one version, as its files are since `since`.

    `reason` is why it did not come in, `retry_at` when it is tried again although nothing changed; `tries`
    counts since it last came in, `noted` says that its note was written, or could not be.
    """

    stamp: str
    since: float
    tries: int = 0
    reason: str | None = None
    retry_at: float = math.inf
    placed: Stamp | None = None
    done: bool = False
    noted: bool = False


def decide(case: Case, lacks: str | None) -> tuple[Step, float]:
    """What is to be done with a version next, and when."""
    if case.done:
        return "rest", math.inf
    if lacks is None and case.reason is None:
        # Who copies with long stops is not tried at each of them.
        return "try", case.since + min(SETTLED_SECONDS, QUIET_SECONDS * 2 ** min(case.tries, 10))
    note_at = math.inf if case.noted else case.since + SETTLED_SECONDS
    if lacks is None and case.retry_at < note_at:
        return "try", case.retry_at
    return ("note", note_at) if note_at < math.inf else ("rest", math.inf)


class Ended(BaseException):
    """The work was told to end. No `Exception`, so that nobody takes it for a failure of what he did."""


class WatchEnd:
    """`ask` ends the work of the thread that signals interrupt, by raising `Ended` in it, once."""

    def __init__(self) -> None:
        self._asked = False
        self._held = False

    def ask(self, *_signal: object) -> None:
        """A signal's handler: raise `Ended` now, or as soon as nothing is held."""
        if self._asked:
            return
        self._asked = True
        if not self._held:
            raise Ended

    def hold(self) -> None:
        """What begins now is finished first. It is quick."""
        self._held = True

    def release(self) -> None:
        """It is finished; raises `Ended` if that was asked for meanwhile."""
        held, self._held = self._held, False
        if held and self._asked:
            raise Ended


logger = logging.getLogger("okawari.drop")

#: Seconds between two looks where no events come, and the part of its time that looking may take.
_POLL = 2.0
_SHARE = 0.05
#: Changes that come faster are looked at together.
_GATHER = 0.2

_LONGEST_BACKOFF = 60.0


class _Moved(ImportRefused):
    """The files changed while they were copied."""


@dataclass(slots=True)
class _Oddity:
    """Why something in the folder is no version, since when, and whether that was told."""

    why: str
    since: float
    told: bool = False


class _Log(ImportProgress):
    def waiting(self, what: str) -> None:
        logger.info("waiting for %s", what)


class DropFolder:
    """Brings what is put into `folder` into the store of `home`. One thread's."""

    def __init__(
        self,
        folder: Path,
        home: Path,
        ending: WatchEnd,
        *,
        make: Callable[..., Importer] = Importer,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        at: Hook = lambda _step: None,
    ) -> None:
        """`at` is told each step of each import before it begins."""
        self.folder = folder
        #: What is worth watching, links left out; as of the last look.
        self.folders: tuple[Path, ...] = (folder,)
        #: Seconds that should pass between two looks, however much changes.
        self.pause = _GATHER
        self._models = home / "models"
        self._importer = make(home, report=_Log(), at=self._at)
        self._ending = ending
        self._clock = clock
        self._now = now
        self._hook = at
        self._cases: dict[str, Case] = {}
        self._odd: dict[str, _Oddity] = {}
        self._away = False
        self._trying: Dropped | None = None

    def turn(self) -> float:
        """Look once and do what is due; return the seconds until there is more to do."""
        began = time.perf_counter()
        sight = look(self.folder)
        took = (time.perf_counter() - began) / _SHARE
        self.pause = max(_GATHER, took)
        if not self._is_there(sight) or sight is None:
            return max(_POLL, took)
        self.folders = sight.folders
        self._tell_odd(sight)
        self._keep_only(sight)
        return min(max(_POLL, took), self._act(sight))

    def _is_there(self, sight: DropScan | None) -> bool:
        away = sight is None
        if away and not self._away:
            logger.warning("%s is away or cannot be read; waiting for it", self.folder)
        if self._away and not away:
            logger.info("%s is there again", self.folder)
        self._away = away
        return not away

    def _tell_odd(self, sight: DropScan) -> None:
        """Once each, as long as it lies there; what is being copied may look odd at first."""
        now, known = self._clock(), self._odd
        self._odd = {}
        for path, why in sight.odd.items():
            odd = known.get(path)
            self._odd[path] = odd = odd if odd is not None and odd.why == why else _Oddity(why, now)
            if not odd.told and now - odd.since >= SETTLED_SECONDS:
                odd.told = True
                logger.warning("%s is passed over: %s", plain(path, 500), plain(why, 2000))

    def _keep_only(self, sight: DropScan) -> None:
        for path in self._cases.keys() - sight.versions.keys():
            del self._cases[path]

    def _act(self, sight: DropScan) -> float:
        """Notes, and one import, in natural order; the next begins with a fresh look."""
        soonest, now = math.inf, self._clock()
        tried = False
        for path, dropped in sight.versions.items():
            case = self._case(path, dropped, now)
            step, when = decide(case, dropped.lacks)
            if when > now or (step == "try" and tried):
                soonest = min(soonest, when)
            elif step == "note":
                self._write_note(dropped, case)
            elif step == "try":
                tried = True
                self._try(dropped, case)
        return 0.0 if tried else max(0.0, soonest - now)

    def _case(self, path: str, dropped: Dropped, now: float) -> Case:
        """What is known of a version; begun anew when its files, or what hinders it in the store, changed."""
        case = self._cases.get(path)
        if case is None or case.stamp != dropped.stamp:
            case = Case(dropped.stamp, now, tries=case.tries if case and not case.done else 0)
            self._cases[path] = case
            logger.debug("%s has changed; %s", dropped, dropped.lacks or "it may be whole")
        elif case.reason is not None and case.placed != self._placed(dropped):
            case.reason, case.noted, case.retry_at = None, False, math.inf
        return case

    def _placed(self, dropped: Dropped) -> Stamp | None:
        """What the store has in the version's place."""
        if dropped.tag is None:
            return None
        try:
            return stamp_of((self._models / dropped.tag.name / dropped.tag.version).stat())
        except OSError:
            return None

    def _try(self, dropped: Dropped, case: Case) -> None:
        case.tries += 1
        self._trying = dropped
        try:
            self._bring(dropped, case)
        except _Moved:
            case.since = self._clock()
            logger.debug("%s changed while it was copied", dropped)
        except ImportRefused as refused:
            self._refused(dropped, case, str(refused), hindered=isinstance(refused, ImportUnavailable))
        except Exception as error:
            logger.exception("an import of %s that nobody foresaw", dropped)
            why = f"{type(error).__name__}: {plain(str(error), 500)}"
            self._refused(dropped, case, why, hindered=False)
        finally:
            self._trying = None
            self._ending.release()

    def _bring(self, dropped: Dropped, case: Case) -> None:
        if self._is_known(dropped):
            logger.debug("%s is in the store already, with the same files", dropped.tag)
        else:
            _refuse_unwritten(dropped)
            logger.info("importing %s", dropped)
            done = self._importer.run(Candidate(dropped.path, Wanted(), named=False))
            logger.info("%s", summary(done))
        case.done = True
        self._take_back(dropped)

    def _is_known(self, dropped: Dropped) -> bool:
        """Whether the store says that it has these very files. Cheaper than an import that finds it out."""
        if dropped.tag is None or self._placed(dropped) is None:
            return False
        try:
            manifest = model_yaml.read(self._models / dropped.tag.name / dropped.tag.version).manifest
            opened = candidates.open_folder(dropped.path, Wanted(), dropped.path)
            if manifest is None or opened.tag != dropped.tag:
                return False
            entries = {
                name: FileEntry(sha256=sha256_of(path), size=path.stat().st_size)
                for name, path in opened.files.items()
            }
        except (OSError, BadManifest, ImportRefused, ValueError):
            return False
        return digest_of(entries) == manifest.digest

    def _at(self, step: str) -> None:
        """What an import tells before each of its steps."""
        if step == "compare" and self._trying is not None and self._has_moved(self._trying):
            raise _Moved(f"{self._trying} changed")
        if step in ("shelf", "latest"):
            self._ending.hold()
        self._hook(step)

    def _has_moved(self, dropped: Dropped) -> bool:
        """Whether the files that were just copied are not those that were found at rest."""
        try:
            return scan_of(self.folder, dropped.path).stamp != dropped.stamp
        except Exception:  # noqa: BLE001 - whatever became of it, it is not what it was
            return True

    def _refused(self, dropped: Dropped, case: Case, why: str, *, hindered: bool) -> None:
        why = plain(" ".join(why.split()), 4000)
        if why != case.reason:
            case.noted = False
        case.reason = why
        case.placed = self._placed(dropped)
        case.retry_at = math.inf
        again = "tried again when its files change"
        if hindered:
            delay = min(_LONGEST_BACKOFF, 2.0 ** min(case.tries, 10))
            case.retry_at = self._clock() + delay
            again = f"tried again in {delay:g} s"
        logger.warning("not imported, %s: %s", again, why)

    def _write_note(self, dropped: Dropped, case: Case) -> None:
        case.noted = True
        why = case.reason or dropped.lacks or "unknown"
        if case.reason is None:
            logger.warning("not imported, tried again when its files change: %s: %s", dropped, why)
        what = plain(str(dropped.tag or dropped.path.name), 200)
        words = drop_scan.text(what, why, self._now(), hindered=case.retry_at < math.inf)
        try:
            drop_scan.write(dropped.note, words)
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


def _refuse_unwritten(dropped: Dropped) -> None:
    try:
        missing = unwritten(dropped)
    except FileNotFoundError:
        raise _Moved(f"{dropped} changed") from None
    except OSError as error:
        raise ImportUnavailable(f"{dropped}: {error.strerror or error}") from error
    if missing is not None:
        raise ImportRefused(f"{dropped}: {missing}")
