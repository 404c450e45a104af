"""The limit of the machine: the same work through the same code, in processes without a server."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self

from hotswap.predictions import Options, Picture
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from models_import.store import ModelStore
from runners.loader import OnnxLoader

_MAX_PIXELS = 50_000_000
_ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Work:
    """What some processes did at once: each picture's milliseconds, and the processor time of all."""

    milliseconds: tuple[float, ...]
    rate: float
    cpu_seconds: float

    @property
    def cpu_ms(self) -> float:
        """Processor time for one picture."""
        return self.cpu_seconds * 1e3 / max(1, len(self.milliseconds))

    @property
    def cores(self) -> float:
        """How many cores it had; fewer than there are, when others use them too."""
        return self.cpu_ms * self.rate / 1e3


class Limit:
    """As many processes as cores, each with its own loaded model; they sleep between measurements."""

    def __init__(
        self,
        home: Path,
        tag: ModelTag,
        pictures: Sequence[Sequence[bytes]],
        count: int,
        *,
        options: Options | None = None,
    ) -> None:
        """`pictures` are the sets that `run` chooses from."""
        asked = options or Options()
        context = multiprocessing.get_context("spawn")
        pairs = [context.Pipe() for _ in range(count)]
        self._pipes = [ours for ours, _ in pairs]
        self._processes = [
            context.Process(target=_work, args=(home, tag, pictures, asked, theirs), daemon=True)
            for _, theirs in pairs
        ]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        for pipe in self._pipes:
            _answer(pipe)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(5)
            process.kill()

    def run(self, chosen: int, seconds: float, processes: int | None = None) -> Work:
        """Work on one set of pictures for some seconds, in all processes or only the first ones."""
        used = self._pipes[:processes]
        for pipe in used:
            pipe.send((chosen, seconds))
        parts = [_answer(pipe) for pipe in used]
        return Work(
            milliseconds=tuple(value for part in parts for value in part.milliseconds),
            rate=sum(part.rate for part in parts),
            cpu_seconds=sum(part.cpu_seconds for part in parts),
        )


def _answer(pipe: Connection) -> Work:
    if not pipe.poll(_ANSWER_SECONDS):
        raise RuntimeError("a process of the limit does not answer")
    try:
        answer = pipe.recv()
    except EOFError:
        raise RuntimeError("a process of the limit has ended") from None
    if not isinstance(answer, Work):
        raise RuntimeError(f"a process of the limit failed: {answer}")
    return answer


def _work(
    home: Path, tag: ModelTag, pictures: Sequence[Sequence[bytes]], options: Options, pipe: Connection
) -> None:
    """The child: load once, then do what is asked until the parent hangs up."""
    runner = OnnxLoader(max_pixels=_MAX_PIXELS, thread_cap=1).load(artifact(home, tag))
    sets = [[Picture(encoded=each) for each in chosen] for chosen in pictures]
    for picture in (each for chosen in sets for each in chosen):
        runner.predict([picture], options)
    pipe.send(Work((), 0.0, 0.0))
    while True:
        try:
            chosen, seconds = pipe.recv()
        except EOFError:
            return
        taken: list[float] = []
        begun, cpu = time.monotonic(), time.process_time()
        until = begun + seconds
        for picture in cycle(sets[chosen]):
            before = time.perf_counter()
            runner.predict([picture], options)
            taken.append((time.perf_counter() - before) * 1e3)
            if time.monotonic() >= until:
                break
        spent, lasted = time.process_time() - cpu, time.monotonic() - begun
        pipe.send(Work(tuple(taken), len(taken) / lasted, spent))


def artifact(home: Path, tag: ModelTag) -> Artifact:
    """A version of a home's store. Raises RuntimeError where it cannot be loaded."""
    store = ModelStore(home / "models")
    store.look()
    settled = store.settle(tag)
    if not isinstance(settled, Artifact):
        raise RuntimeError(f"{tag}: {settled.reason}")
    return settled
