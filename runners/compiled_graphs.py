"""Compiled graphs: optimised once, kept under the home, mapped when a version is loaded."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from common.files import locked, sync, write_atomically
from hotswap.repository import Artifact
from residency.planner import Footprint
from runners.compiled_entry import ENTRY_FILE, CompiledEntry, CompiledGraph, CompiledKey, FileIdentity
from runners.devices import Provider
from runners.optimised_graph import open_optimised
from runners.placed_graph import OpenSession
from runners.recorded_answers import ComparedSession

logger = logging.getLogger("bentoml.okawari.runners")

#: How a graph was opened: compiled; plainly, because there is no entry; because the entry cannot be used;
#: because the graph cannot be compiled.
LoadOutcome = Literal["hit", "miss", "bad", "refused"]

#: Bytes of the files of a version that is worth it; smaller ones load as fast the plain way.
SMALLEST = 1 << 18
#: Most entries, most bytes of a description, and most versions of which it is known that they were asked for.
_MOST_ENTRIES, _LONGEST, _MOST_ASKED = 1000, 1 << 20, 10_000
_LOCK = ".lock"
_STAGED, _REMOVED = ".staged-", ".removed-"


class CompiledGraphs:
    """The cache in one folder. Several processes may use it at once; each file is written once.

    `opened` is called with the outcome of each graph that is opened, and its model; `wanted` once with each
    version, by its digest, that has no usable entry.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        *,
        smallest: int = SMALLEST,
        opened: Callable[[str, LoadOutcome], None] = lambda _model, _outcome: None,
        wanted: Callable[[Artifact], None] = lambda _artifact: None,
    ) -> None:
        """Keep at most `limit` bytes; compile no version of less than `smallest`."""
        self.folder = folder
        self.limit = limit
        self.opened = opened
        self.wanted = wanted
        self._smallest = smallest
        self._read: dict[str, tuple[FileIdentity, CompiledEntry]] = {}
        self._asked: set[str] = set()
        self._asking = threading.Lock()

    def fits(self, artifact: Artifact) -> bool:
        """Whether a version is large enough to be compiled, and small enough to be kept."""
        return self._smallest <= artifact.size_bytes <= self.limit

    def entry(self, digest: str) -> CompiledEntry | None:
        """What is known of a version's compiled form here; None where there is none.

        Reads one small file, where it is not the one that was read last.
        """
        key = CompiledKey(digest)
        file = self._place(key) / ENTRY_FILE
        try:
            identity = FileIdentity.of(file)
            read = self._read.get(digest)
            if read is None or read[0] != identity:
                if identity.size > _LONGEST:
                    return None
                read = identity, CompiledEntry.model_validate_json(file.read_bytes())
                self._remember(digest, read)
        except (OSError, ValueError):
            return None
        return read[1] if read[1].key == key else None

    def _remember(self, digest: str, read: tuple[FileIdentity, CompiledEntry]) -> None:
        if len(self._read) >= _MOST_ENTRIES:
            self._read.clear()
        self._read[digest] = read

    def footprint(self, digest: str) -> Footprint | None:
        """What a version takes in memory when it is loaded from its compiled form; None without one."""
        entry = self.entry(digest)
        return None if entry is None else entry.footprint

    def opener(self, artifact: Artifact, plain: OpenSession) -> OpenSession:
        """Opens a version's graphs: on the CPU as compiled, else, and in any trouble, by `plain`."""
        return partial(self._open, artifact, plain)

    def remove(self, digest: str) -> None:
        """Remove a version's entry; a process that has mapped its files keeps them."""
        self._remove(self._place(CompiledKey(digest)))

    @contextmanager
    def locked(self, seconds: float = 0.0) -> Iterator[None]:
        """Hold the lock of those who compile. Raises `TimeoutError`, `OSError`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder / _LOCK, seconds):
            yield

    @contextmanager
    def staged(self) -> Iterator[Path]:
        """A new folder for an entry, gone at the end. Call it, and `publish`, with the lock held."""
        for left in self.folder.iterdir():
            if left.name.startswith((_STAGED, _REMOVED)):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=_STAGED, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, staged: Path, entry: CompiledEntry) -> None:
        """Show a staged entry in one step, then make room. Raises `OSError`."""
        for name in entry.files:
            sync(staged / name)
        write_atomically(staged / ENTRY_FILE, entry.model_dump_json(indent=1).encode(), 0o444)
        staged.chmod(0o755)
        place = self._place(entry.key)
        self._remove(place)
        staged.rename(place)
        sync(self.folder)
        self._trim(place)

    def _open(
        self,
        artifact: Artifact,
        plain: OpenSession,
        weights: Path,
        threads: int,
        providers: Sequence[Provider],
    ) -> Any:
        open_plainly = partial(plain, weights, threads, providers)
        if providers or not self.fits(artifact):
            return open_plainly()
        entry = self.entry(artifact.digest)
        if entry is not None and entry.refusal is not None:
            self.opened(artifact.tag.name, "refused")
            return open_plainly()
        graph = None if entry is None else entry.graphs.get(_source(artifact, weights))
        if entry is None or graph is None:
            return self._missed(artifact, "miss", open_plainly)
        try:
            session = self._mapped(entry, graph, threads)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common root
            return self._missed(artifact, "bad", open_plainly, str(error))
        self.opened(artifact.tag.name, "hit")
        if threads != graph.threads or not graph.answers:
            return session
        differs = partial(self._bad, artifact, "it answers otherwise than it did when it was compiled")
        return ComparedSession(session, graph.answers, open_plainly, differs)

    def _mapped(self, entry: CompiledEntry, graph: CompiledGraph, threads: int) -> Any:
        """A session on the files of an entry, which are looked at before and after it has mapped them."""
        place = self._place(entry.key)
        if trouble := entry.trouble(place):
            raise OSError(trouble)
        seen = entry.seen_in(place)
        session = open_optimised(place / graph.file, threads)
        if seen.seen_in(place) != seen:
            raise OSError("its files changed while they were opened")
        with suppress(OSError):  # of a home that is read-only the files are read each time
            if seen != entry:
                write_atomically(place / ENTRY_FILE, seen.model_dump_json(indent=1).encode(), 0o444)
            os.utime(place)
        return session

    def _missed(
        self, artifact: Artifact, outcome: LoadOutcome, open_plainly: Callable[[], Any], reason: str = ""
    ) -> Any:
        if outcome == "bad":
            self._bad(artifact, reason)
        else:
            self.opened(artifact.tag.name, outcome)
        session = open_plainly()
        self._ask(artifact)
        return session

    def _bad(self, artifact: Artifact, reason: str) -> None:
        self.opened(artifact.tag.name, "bad")
        logger.warning(
            "%s is loaded the plain way: its compiled form cannot be used and is removed: %s",
            artifact.tag,
            reason[:500],
        )
        self.remove(artifact.digest)
        self._ask(artifact)

    def _ask(self, artifact: Artifact) -> None:
        """Ask for a compile, once for each version."""
        with self._asking:
            if artifact.digest in self._asked:
                return
            if len(self._asked) >= _MOST_ASKED:
                self._asked.clear()
            self._asked.add(artifact.digest)
        self.wanted(artifact)

    def _place(self, key: CompiledKey) -> Path:
        return self.folder / key.name

    def _remove(self, place: Path) -> None:
        """Hide an entry in one step, then delete it."""
        with suppress(OSError):
            hidden = Path(tempfile.mkdtemp(prefix=_REMOVED, dir=self.folder))
            with suppress(OSError):
                place.rename(hidden / place.name)
            shutil.rmtree(hidden, ignore_errors=True)

    def _trim(self, fresh: Path) -> None:
        """Remove entries, the longest unused first, until the others and `fresh` keep the limit."""
        entries = sorted(self._entries(), key=lambda each: (each[0] == fresh, each[2]), reverse=True)
        kept = 0
        for number, (place, size, _) in enumerate(entries):
            kept += size
            if place != fresh and (kept > self.limit or number >= _MOST_ENTRIES):
                self._remove(place)
                kept -= size

    def _entries(self) -> Iterator[tuple[Path, int, int]]:
        """Each entry with its bytes and its last use."""
        for place in self.folder.iterdir():
            if place.name.startswith("."):
                continue
            with suppress(OSError):
                files = [each.stat().st_size for each in place.iterdir()]
                yield place, sum(files), place.stat().st_mtime_ns


def _source(artifact: Artifact, weights: Path) -> str:
    """The name of a graph within its version."""
    return weights.relative_to(artifact.path).as_posix()
