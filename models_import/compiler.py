"""Compiles versions: a child process optimises the graphs and proves that their answers stay the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hotswap.repository import Artifact
from models_import.compile_process import CompileResult, CompileTask
from models_import.subprocesses import LOW_PRIORITY, child_environment, last_words
from runners.compiled_entry import CompiledEntry, CompiledKey, described
from runners.compiled_graphs import CompiledGraphs
from runners.recorded_answers import repeatable

#: Seconds in which a step of a compile must end.
LIMIT = 300.0
#: Free bytes that a compile leaves, and how many times the files' size it may take.
_SPARE_BYTES, _TIMES = 10_000_000, 2.5
#: Signals that end a process for no fault of the model.
_FOREIGN = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Hook = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CompileOutcome:
    """What came of it: `reason` for all but `compiled` and `known`.

    `refused`: it cannot be compiled, and is not tried again; `failed`, `busy`: it may be tried again.
    """

    kind: Literal["compiled", "known", "skipped", "refused", "failed", "busy"]
    reason: str | None = None


class _Refused(Exception):
    """The version cannot be compiled, now or later."""


class _Failed(Exception):
    """It could not be compiled now."""


class Compiler:
    """Compiles versions into a cache, one at a time for all processes that share it."""

    def __init__(
        self,
        graphs: CompiledGraphs,
        *,
        limit: float = LIMIT,
        at: Hook = lambda _step: None,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        """`at` is called with the name of each step before it begins."""
        self._graphs = graphs
        self._limit = limit
        self._at = at
        self._free_bytes = free_bytes or (lambda: shutil.disk_usage(graphs.folder).free)
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = False
        self._starting = threading.Lock()

    def compile(self, artifact: Artifact, wait: float = 0.0) -> CompileOutcome:
        """Compile a version unless its entry is there; wait so many seconds for other compiles.

        Nothing raises, and nothing but a whole entry is left.
        """
        if not self._graphs.fits(artifact):
            return CompileOutcome("skipped", f"its files have {artifact.size_bytes} bytes")
        try:
            with self._graphs.locked(wait):
                if self._graphs.entry(artifact.digest) is not None:
                    return CompileOutcome("known")
                return self._compiled(artifact)
        except TimeoutError:
            return CompileOutcome("busy", "another version is being compiled")
        except OSError as error:
            return CompileOutcome(
                "failed", f"{error.filename or self._graphs.folder}: {error.strerror or error}"
            )

    def stop(self) -> None:
        """End what runs, and begin nothing more. May be called by any thread."""
        with self._starting:
            self._stopping = True
            if self._child is not None:
                _kill(self._child)

    def _compiled(self, artifact: Artifact) -> CompileOutcome:
        """Raises `OSError`."""
        with self._graphs.staged() as staged:
            try:
                self._check_room(artifact)
                entry = self._made(artifact, staged)
                outcome = CompileOutcome("compiled")
            except _Failed as failed:
                return CompileOutcome("failed", str(failed))
            except _Refused as refused:
                # Where the disk is full, onnxruntime gives many reasons, or none.
                if self._has_no_room(0):
                    return CompileOutcome("failed", f"the disk is full: {refused}")
                _empty(staged)
                entry = _refusal(artifact, str(refused))
                outcome = CompileOutcome("refused", str(refused))
            self._at("publish")
            self._graphs.publish(staged, entry)
        return outcome

    def _made(self, artifact: Artifact, staged: Path) -> CompiledEntry:
        """Raises `_Refused`, `_Failed`, `OSError`."""
        self._at("make")
        made = self._run(_task(artifact, staged, self._limit))
        self._at("describe")
        for file in staged.iterdir():
            file.chmod(0o444)
        graphs = {
            source: graph.model_copy(update={"answers": repeatable(graph.answers)})
            for source, graph in made.graphs.items()
        }
        key = CompiledKey(artifact.digest)
        return CompiledEntry(
            digest=key.digest,
            onnxruntime=key.onnxruntime,
            cpu=key.cpu,
            graphs=graphs,
            files=described(staged, graphs),
            cost=made.cost,
        )

    def _check_room(self, artifact: Artifact) -> None:
        if self._has_no_room(artifact.size_bytes):
            raise _Failed(
                f"{self._free_bytes()} bytes are free, too few beside {artifact.size_bytes} of its files"
            )

    def _has_no_room(self, size: int) -> bool:
        return self._free_bytes() < _TIMES * size + _SPARE_BYTES

    def _run(self, task: CompileTask) -> CompileResult:
        """Raises `_Refused`, `_Failed`, `OSError`."""
        with self._starting:
            if self._stopping:
                raise _Failed("the process is ending")
            child = self._child = subprocess.Popen(
                [*LOW_PRIORITY, "models_import.compile_process"],
                env=child_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        try:
            return _result(child, task)
        finally:
            with self._starting:
                self._child = None


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child with its forks: it leads a session."""
    with suppress(OSError):
        os.killpg(child.pid, signal.SIGKILL)


def _result(child: subprocess.Popen[bytes], task: CompileTask) -> CompileResult:
    """What the child says; its stdin stays open as long as this process lives."""
    timer = threading.Timer(task.limit, _kill, [child])
    timer.daemon = True
    with child:
        timer.start()
        try:
            out, err = _exchange(child, task)
        finally:
            in_time = timer.is_alive()
            timer.cancel()
            if child.poll() is None:
                _kill(child)
    if not in_time:
        raise _Refused(f"its graphs were not compiled within {task.limit:g} s")
    return _read(child, out, err)


def _exchange(child: subprocess.Popen[bytes], task: CompileTask) -> tuple[bytes, bytes]:
    """Send the task, take what the child writes until it ends, with stdin open all the time."""
    send, take, hear = child.stdin, child.stdout, child.stderr
    if send is None or take is None or hear is None:  # pragma: no cover - all three are pipes
        raise OSError("the child has no pipes")
    with suppress(BrokenPipeError):
        send.write(task.model_dump_json().encode() + b"\n")
        send.flush()
    errors: list[bytes] = []
    reader = threading.Thread(target=lambda: errors.append(hear.read()), daemon=True)
    reader.start()
    out = take.read()
    reader.join()
    child.wait()
    return out, b"".join(errors)


def _read(child: subprocess.Popen[bytes], out: bytes, err: bytes) -> CompileResult:
    if child.returncode != 0:
        raise _Failed(f"its compile ended with status {child.returncode}: {last_words(err)}")
    result = CompileResult.model_validate_json(out.splitlines()[-1])
    if result.reason is not None:
        kind = _Failed if result.signal in _FOREIGN else _Refused
        raise kind(result.reason)
    return result


def _task(artifact: Artifact, out: Path, limit: float) -> CompileTask:
    return CompileTask(
        folder=artifact.path,
        name=artifact.tag.name,
        version=artifact.tag.version,
        weights=artifact.weights.relative_to(artifact.path).as_posix(),
        digest=artifact.digest,
        size_bytes=artifact.size_bytes,
        out=out,
        limit=limit,
    )


def _refusal(artifact: Artifact, reason: str) -> CompiledEntry:
    key = CompiledKey(artifact.digest)
    return CompiledEntry(
        digest=key.digest, onnxruntime=key.onnxruntime, cpu=key.cpu, refusal=reason[:1000] or "unknown"
    )


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
