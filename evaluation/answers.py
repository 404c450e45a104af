"""Answers of two versions to the same pictures, kept in a file while they come, so that a run can go on.

The file has a header line, which says who was asked how, and a line for each picture. A file with another
header is begun anew; a line that was cut off by the end of a run is asked again.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.picture_facts import PictureFacts, picture_facts
from hotswap.errors import ServingError
from hotswap.predictions import Detection, Mask, Options, Picture, Prediction, Predictions
from hotswap.runner import Runner

FORMAT = 1
#: A line of a picture with 100 masks is below this.
_LONGEST_LINE = 64_000_000
_Entries = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SideAnswer:
    """What one version says of a picture; `error` in its place where it fails.

    `ms` are the milliseconds of decoding, preprocessing and the graph. `embedding` is float32 [D].
    """

    detections: tuple[Detection, ...] = ()
    ms: float = 0.0
    embedding: NDArray[np.float32] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PairedAnswer:
    """Both answers to one picture: `name` is its path below the folder of pictures, its size in pixels."""

    name: str
    sha256: str
    width: int
    height: int
    facts: PictureFacts
    a: SideAnswer
    b: SideAnswer


@dataclass(frozen=True, slots=True)
class SharedPicture:
    """A picture that both versions are asked about: `name` is its path below the folder of pictures."""

    name: str
    data: bytes
    sha256: str
    facts: PictureFacts

    @classmethod
    def of(cls, name: str, data: bytes, max_pixels: int) -> SharedPicture:
        """An encoded picture. Raises `BadPicture` and its kin where it cannot be read."""
        return cls(name, data, hashlib.sha256(data).hexdigest(), picture_facts(name, data, max_pixels))


class PairedRunners:
    """Asks two versions about pictures, one after the other; each is first in every second picture."""

    def __init__(self, a: Runner, b: Runner, options: Options) -> None:
        self._runners = (a, b)
        self._options = options
        self._count = 0

    def ask(self, picture: SharedPicture) -> PairedAnswer:
        """Both answers to a picture."""
        order = (0, 1) if self._count % 2 == 0 else (1, 0)
        self._count += 1
        answers: dict[int, tuple[SideAnswer, Prediction | None]] = {}
        for side in order:
            answers[side] = self._one(self._runners[side], picture.data)
        (a, said), (b, also) = answers[0], answers[1]
        size = said or also
        width, height = (size.width, size.height) if size else (0, 0)
        return PairedAnswer(picture.name, picture.sha256, width, height, picture.facts, a, b)

    def _one(self, runner: Runner, data: bytes) -> tuple[SideAnswer, Prediction | None]:
        try:
            answered: Predictions = runner.predict([Picture(encoded=data)], self._options)
        except ServingError as error:
            return SideAnswer(error=error.message[:500]), None
        spent, said = answered.timings, answered.items[0]
        ms = round(spent.decode + spent.preprocess + spent.inference, 3)
        return SideAnswer(said.detections, ms, said.embedding), said


class AnswerFile:
    """`answers.jsonl`: what was answered, and stays answered when a run ends early."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """The file for a header; one with another header counts as empty, is replaced by the first line."""
        self.path = path
        self._header = json.dumps({"format": FORMAT, **header}, sort_keys=True)
        self._answers: dict[str, tuple[str, PairedAnswer]] = {}
        self._end = 0
        self._read()

    @property
    def is_begun(self) -> bool:
        """Whether an earlier run has left answers."""
        return bool(self._answers)

    def get(self, name: str, stamp: str) -> PairedAnswer | None:
        """The answer to a picture that still has this stamp; see `stamp_of`."""
        kept = self._answers.get(name)
        return kept[1] if kept is not None and kept[0] == stamp else None

    def add(self, answer: PairedAnswer, stamp: str) -> None:
        """Keep an answer."""
        self._answers[answer.name] = (stamp, answer)
        line = json.dumps(_written(answer, stamp), separators=(",", ":"))
        if self._end == 0:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            line = f"{self._header}\n{line}"
        data = f"{line}\n".encode()
        with self.path.open("r+b" if self._end else "wb") as file:
            file.seek(self._end)
            file.truncate()
            file.write(data)
        self._end += len(data)

    def _read(self) -> None:
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(_whole_lines(file)):
                    if number == 0:
                        if line.decode(errors="replace").strip() != self._header:
                            return
                    else:
                        stamp, answer = _answer_of(json.loads(line))
                        self._answers[answer.name] = (stamp, answer)
                    self._end += len(line)
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError, IndexError):
            return  # what follows a damaged line is asked again


def _whole_lines(file: Any) -> Iterator[bytes]:
    while (line := file.readline(_LONGEST_LINE)).endswith(b"\n"):
        yield line


def stamp_of(path: Path) -> str:
    """A text that changes when a file does."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


# --- lines -----------------------------------------------------------------------------------------


def _written(answer: PairedAnswer, stamp: str) -> _Entries:
    facts = answer.facts
    return {
        "picture": answer.name,
        "stamp": stamp,
        "sha256": answer.sha256,
        "size": [answer.width, answer.height],
        "facts": [facts.camera, facts.hour, facts.luma],
        "a": _side(answer.a),
        "b": _side(answer.b),
    }


def _side(answer: SideAnswer) -> _Entries:
    written: _Entries = {"ms": answer.ms, "found": [_found(each) for each in answer.detections]}
    if answer.embedding is not None:
        written["embedding"] = base64.b64encode(answer.embedding.astype("<f4").tobytes()).decode()
    if answer.error is not None:
        written["error"] = answer.error
    return written


def _found(each: Detection) -> list[Any]:
    mask = None
    if each.mask is not None:
        mask = [each.mask.width, each.mask.height, each.mask.counts.tolist()]
    return [each.label, each.label_id, each.score, each.bbox, mask]


def _answer_of(entry: _Entries) -> tuple[str, PairedAnswer]:
    (width, height), facts = entry["size"], PictureFacts(*entry["facts"])
    a, b = _side_of(entry["a"]), _side_of(entry["b"])
    return entry["stamp"], PairedAnswer(entry["picture"], entry["sha256"], width, height, facts, a, b)


def _side_of(entry: _Entries) -> SideAnswer:
    packed = entry.get("embedding")
    embedding = None if packed is None else np.frombuffer(base64.b64decode(packed), "<f4").copy()
    detections = tuple(_detection(each) for each in entry["found"])
    return SideAnswer(detections, entry["ms"], embedding, entry.get("error"))


def _detection(row: Sequence[Any]) -> Detection:
    label, label_id, score, bbox, mask = row
    box = None if bbox is None else (bbox[0], bbox[1], bbox[2], bbox[3])
    runs = None if mask is None else Mask(mask[0], mask[1], np.array(mask[2], dtype=np.int64))
    return Detection(label, label_id, score, box, mask=runs)
