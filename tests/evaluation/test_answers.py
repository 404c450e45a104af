"""Answers of both versions: asked in turn, kept as they come, and not asked again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.answers import AnswerFile, PairedAnswer, PairedRunners, SharedPicture, stamp_of
from evaluation.picture_facts import PictureFacts
from hotswap.errors import BadPicture, ModelFailed
from hotswap.predictions import Options, Picture, Prediction, Predictions, Timings
from runners.mask_runs import mask_of
from tests.e2e.pictures import picture
from tests.evaluation.answered import found, pair, side

MOST_PIXELS = 10_000_000
HEADER = {"a": "sha256:1", "b": "sha256:2"}


def _full(name: str = "a.jpg") -> PairedAnswer:
    mask = mask_of(np.eye(4, dtype=bool))
    return pair(
        name,
        side(found("cat", 0.123456789, mask=mask), found("dog", 0.5, None), embedding=[0.1, 0.2]),
        side(error="NaN"),
        PictureFacts("cam", None, 12.5),
    )


def _same(one: PairedAnswer, other: PairedAnswer) -> bool:
    def plain(each: PairedAnswer) -> Any:
        rows = [
            (f.label, f.label_id, f.score, f.bbox, None if f.mask is None else f.mask.counts.tolist())
            for s in (each.a, each.b)
            for f in s.detections
        ]
        vectors = [None if s.embedding is None else s.embedding.tolist() for s in (each.a, each.b)]
        return rows, vectors, each.name, each.facts, each.sha256, each.a.ms, each.b.error

    return bool(plain(one) == plain(other))


def test_what_was_answered_is_there_after_an_end(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "out" / "answers.jsonl", HEADER)
    assert not file.is_begun
    for name in ("a.jpg", "b.jpg"):
        file.add(_full(name), "stamp")
    again = AnswerFile(file.path, HEADER)
    assert again.is_begun
    kept = again.get("b.jpg", "stamp")
    assert kept is not None
    assert _same(kept, _full("b.jpg"))
    assert again.get("b.jpg", "another stamp") is None
    assert again.get("c.jpg", "stamp") is None


def test_a_line_that_was_cut_off_is_asked_again_and_what_stood_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    file = AnswerFile(path, HEADER)
    file.add(_full("a.jpg"), "s")
    whole = path.read_bytes()
    file.add(_full("b.jpg"), "s")
    for length in (len(whole) + 1, len(whole) + 40, len(path.read_bytes()) - 1):
        path.write_bytes((whole + path.read_bytes()[len(whole) :])[:length])
        cut = AnswerFile(path, HEADER)
        assert cut.get("a.jpg", "s") is not None
        assert cut.get("b.jpg", "s") is None
        cut.add(_full("b.jpg"), "s")
        assert AnswerFile(path, HEADER).get("b.jpg", "s") is not None


@pytest.mark.parametrize("damage", [b"{}\n", b'{"picture": 1}\n', b"\xff\xfe\n", b'["a"]\n', b"x\n" * 9000])
def test_after_a_damaged_line_everything_is_asked_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, HEADER).add(_full("a.jpg"), "s")
    path.write_bytes(path.read_bytes() + damage)
    file = AnswerFile(path, HEADER)
    assert file.get("a.jpg", "s") is not None
    file.add(_full("b.jpg"), "s")
    assert AnswerFile(path, HEADER).get("b.jpg", "s") is not None
    assert len(path.read_bytes().splitlines()) == 3, "nothing of the damage is left"


def test_other_versions_or_options_begin_anew(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    AnswerFile(path, HEADER).add(_full("a.jpg"), "s")
    other = AnswerFile(path, HEADER | {"b": "sha256:3"})
    assert not other.is_begun
    other.add(_full("b.jpg"), "s")
    assert not AnswerFile(path, HEADER).is_begun
    assert AnswerFile(path, HEADER | {"b": "sha256:3"}).get("a.jpg", "s") is None


class _Runner:
    """Writes down when it is asked."""

    def __init__(self, name: str, log: list[str]) -> None:
        self._name, self._log = name, log

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        self._log.append(self._name)
        if self._name == "fails":
            raise ModelFailed("NaN")
        item = Prediction((found("cat"),), "v1", 64, 48)
        return Predictions((item,), Timings(1, 2, 3, 100))


def test_each_version_is_first_in_every_second_picture() -> None:
    log: list[str] = []
    both = PairedRunners(_Runner("a", log), _Runner("b", log), Options())  # type: ignore[arg-type]
    answers = [both.ask(SharedPicture.of("x/p.jpg", picture(), MOST_PIXELS)) for _ in range(3)]
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert (answers[0].a.ms, answers[0].width, answers[0].facts.camera) == (6, 64, "x")


def test_a_version_that_fails_is_noted_and_a_broken_picture_is_refused(tmp_path: Path) -> None:
    both = PairedRunners(_Runner("a", []), _Runner("fails", []), Options())  # type: ignore[arg-type]
    answer = both.ask(SharedPicture.of("p.jpg", picture(), MOST_PIXELS))
    assert (answer.a.error, answer.b.error) == (None, "NaN")
    with pytest.raises(BadPicture):
        SharedPicture.of("p.jpg", b"no picture", MOST_PIXELS)
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = stamp_of(path)
    path.write_bytes(b"12")
    assert stamp_of(path) != before
