"""What a reply of the service means: an answer, a passing failure, or a lasting one."""

from __future__ import annotations

import json

import pytest

from streaming.replies import FailedReply, Reply, Success, judge
from tests.streaming.fake_service import answered, refused


def test_an_answer_names_its_model_and_version() -> None:
    said = judge(answered(score=0.5))
    assert isinstance(said, Success)
    assert said.model == "fruit:v3"
    assert said.answer["score"] == 0.5


@pytest.mark.parametrize("body", [b"", b"[]", b"nothing", b'{"model": "fruit"}', b'{"model": 1}'])
def test_an_answer_without_a_version_is_none(body: bytes) -> None:
    said = judge(Reply(200, body))
    assert isinstance(said, FailedReply)
    assert (said.code, said.transient) == ("bad_answer", False)


@pytest.mark.parametrize("transient", [True, False])
def test_the_wire_says_what_passes(transient: bool) -> None:
    said = judge(refused(418, "teapot", transient=transient, retry_after=3.0))
    assert said == FailedReply("teapot", "because of teapot", transient, 3.0)


@pytest.mark.parametrize(
    ("status", "transient"),
    [
        (429, True),
        (503, True),
        (504, True),
        (502, True),
        (404, False),
        (422, False),
        (400, False),
        (500, False),
    ],
)
def test_without_that_word_the_status_decides(status: int, transient: bool) -> None:
    for reply in (refused(status, "x", transient=None), Reply(status, b"<html>a proxy says no</html>")):
        said = judge(reply)
        assert isinstance(said, FailedReply)
        assert said.transient is transient


def test_a_proxys_page_is_quoted_shortly() -> None:
    said = judge(Reply(502, b"bad gateway " * 1000))
    assert isinstance(said, FailedReply)
    assert said.code == "http_502"
    assert len(said.reason) < 300


def test_long_words_of_the_service_are_cut() -> None:
    body = json.dumps({"error": {"code": "c" * 500, "message": "m" * 9_000}}).encode()
    said = judge(Reply(400, body))
    assert isinstance(said, FailedReply)
    assert (len(said.code), len(said.reason)) == (64, 2_000)
