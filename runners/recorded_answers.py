"""Answers of a graph as digests, bit by bit: recorded when it is compiled, compared when it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: The digest of a run that failed.
FAILED = "failed"
#: Begins the digests of all outputs, which the recorder alone asks for.
BESIDE = "beside:"

#: Runs in which a compiled graph is held against its recorded answers, for each of these.
_RUNS_EACH = 4


def input_digest(names: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> str:
    """The digest of what a run is asked: its outputs' names and its inputs."""
    digest = hashlib.sha256(repr(list(names)).encode())
    for name in sorted(inputs):
        digest.update(repr(name).encode())
        _add(digest, inputs[name])
    return digest.hexdigest()


def answer_digest(arrays: Sequence[Any]) -> str:
    """The digest of what a run gave; any bit counts, that of a NaN, too."""
    digest = hashlib.sha256()
    _add(digest, list(arrays))
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add an array, or what else onnxruntime gives: sequences and maps of arrays and plain values."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest.update(f"{value.dtype.str}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).data if value.size else b"")
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}]".encode())
        for item in value:
            _add(digest, item)
    elif isinstance(value, dict):
        _add(digest, [part for pair in value.items() for part in pair])
    else:
        digest.update(repr(value.tolist() if hasattr(value, "tolist") else value).encode())


class RecordedSession:
    """A session whose runs are recorded in `answers`, also those that no request asks for."""

    def __init__(self, session: Any, answers: dict[str, str]) -> None:
        self._session = session
        self._answers = answers
        self._all = [output.name for output in session.get_outputs()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], options: Any = None) -> Any:
        """The named outputs; raises whatever onnxruntime does."""
        asked = input_digest(names, inputs)
        self._answers[asked] = FAILED
        # A run computes all outputs of its graph anyway.
        arrays = dict(zip(self._all, self._session.run(self._all, dict(inputs), options), strict=True))
        self._answers[BESIDE + asked] = answer_digest(list(arrays.values()))
        named = [arrays[name] for name in names]
        self._answers[asked] = answer_digest(named)
        return named


def repeatable(answers: Mapping[str, str]) -> dict[str, str]:
    """Those of recorded answers that a loaded version gives again when it is checked."""
    return {
        asked: answer
        for asked, answer in answers.items()
        if answer != FAILED and not asked.startswith(BESIDE)
    }


class ComparedSession:
    """A session of a compiled graph, held against its recorded answers until it has given each of them.

    At the first other answer it gives way to the session of `plain`, which answers from then on, and
    `differs` is called. `run` may be called from several threads at once.
    """

    def __init__(
        self,
        session: Any,
        answers: Mapping[str, str],
        plain: Callable[[], Any],
        differs: Callable[[], None],
    ) -> None:
        self._session = session
        self._expected = dict(answers)
        self._left = _RUNS_EACH * len(self._expected)
        self._plain = plain
        self._differs = differs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], options: Any = None) -> Any:
        """The named outputs; raises whatever onnxruntime does."""
        arrays = self._session.run(list(names), dict(inputs), options)
        if self._left <= 0 or self._is_right(names, inputs, arrays):
            return arrays
        self._session, self._left = self._plain(), 0
        self._differs()
        return self._session.run(list(names), dict(inputs), options)

    def _is_right(self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], arrays: Any) -> bool:
        expected = self._expected.pop(input_digest(names, inputs), None)
        self._left = self._left - 1 if self._expected else 0
        return expected is None or expected == answer_digest(arrays)
