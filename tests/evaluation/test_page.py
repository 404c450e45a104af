"""The page is one file of bounded size that asks nobody and shows every text as text."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from evaluation.answers import PairedAnswer
from evaluation.comparison import VersionComparison, compare_answers
from evaluation.page import MOST_BYTES, Thumbnail, page
from tests.evaluation.answered import found, pair, side, truth_of, versions

EVIL = "</script><img src=x onerror=alert(1)>\"'&"
SMALL = Thumbnail("data:image/jpeg;base64,AAAA", 320, 240)


def _comparison(answers: list[PairedAnswer], **more: Any) -> VersionComparison:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return compare_answers("object-detection", versions(), answers, created=created, **more)


def _changed(count: int, label: str = "cat") -> list[PairedAnswer]:
    return [pair(f"p{number}.jpg", side(found(label)), side()) for number in range(count)]


class _Reader(HTMLParser):
    """Collects elements, what they load, and the texts of styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag if tag != "script" else f"script {dict(attrs).get('type', '')}".strip()

    def handle_data(self, data: str) -> None:
        self.texts[self._open] = self.texts.get(self._open, "") + data

    def handle_endtag(self, tag: str) -> None:
        self._open = ""


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    return reader


def test_it_asks_nobody_and_runs_only_what_it_brings() -> None:
    reader = _read(page(_comparison(_changed(3)), lambda _: SMALL, "pictures"))
    for tag, given in reader.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") or name == "style" for name in given), (tag, given)
        for name in ("src", "href", "action", "srcset"):
            assert (given.get(name) or "data:").startswith("data:"), (tag, given)
    (policy,) = [given["content"] for tag, given in reader.tags if given.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(reader.texts[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "http" not in re.sub(r"http-equiv", "", reader.texts["script"] + reader.texts["style"])


def test_texts_of_others_are_shown_as_texts() -> None:
    answers = [pair(f"{EVIL}.jpg", side(found(EVIL)), side())]
    text = page(_comparison(answers), lambda _: SMALL, EVIL)
    plain = _read(page(_comparison(_changed(1)), lambda _: SMALL, "x"))
    reader = _read(text)
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]
    assert [given["alt"] for tag, given in reader.tags if tag == "img"] == [f"{EVIL}.jpg"]
    data = json.loads(reader.texts["script application/json"])
    assert (data["rows"][0]["picture"], data["folder"]) == (f"{EVIL}.jpg", EVIL)
    assert data["rows"][0]["a"][0]["label"] == EVIL


def test_its_size_is_bounded_and_it_says_how_many_pictures_are_not_shown() -> None:
    large = Thumbnail("data:image/jpeg;base64," + "A" * 60_000, 480, 360)
    text = page(_comparison(_changed(300)), lambda _: large, "pictures")
    assert len(text.encode()) <= MOST_BYTES
    shown = text.count("<article")
    assert 60 < shown < 300
    assert f"The {shown} worst of 300 changed pictures" in text
    assert len(json.loads(_read(text).texts["script application/json"])["rows"]) == shown


def test_what_cannot_be_read_any_more_is_left_out_and_without_changes_it_says_so() -> None:
    text = page(_comparison(_changed(3)), lambda each: None if each.name == "p0.jpg" else SMALL, "x")
    assert text.count("<article") == 2
    same = [pair("a.jpg", side(found("cat")), side(found("cat")))]
    assert "Nothing changes in any picture" in page(_comparison(same), lambda _: SMALL, "x")


def test_the_verdict_comes_first_and_the_command_last() -> None:
    answers = _changed(9)
    truth = truth_of(**{f"p{number}": "cat" for number in range(9)})
    text = page(_comparison(answers, truth=truth), lambda _: SMALL, "x")
    places = [
        text.index(each)
        for each in (
            "<strong>Worse",
            'id="figures"',
            "<article",
            'id="classes"',
            'id="slices"',
            'id="scores"',
            'id="promote"',
        )
    ]
    assert places == sorted(places)
    assert "okawari promote m v2" in text


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.0, 0.0), (-0.5, -0.2, 1.5, 1.2)])
def test_boxes_beyond_the_picture_are_expected_inside_it(box: tuple[float, float, float, float]) -> None:
    answers = [pair("a.jpg", side(found("cat", 0.9, box)), side())]
    text = page(_comparison(answers), lambda _: SMALL, "x")
    (expected,) = json.loads(_read(text).texts["script application/json"])["rows"][0]["a"]
    assert all(0 <= value <= 1 for value in expected["bbox"])
