"""No byte of a request's body is ever taken for a request, and what can be read in two ways is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.exchange import Answers, exchange
from tests.e2e.framing import NEXT, Raw, closing, good, refused
from tests.e2e.harness import Service
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

LAST = b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Request-ID: last\r\nConnection: close\r\n\r\n"

Ask = Callable[[Raw], Answers]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker: what it has answered tells what it has read."""
    folder = tmp_path_factory.mktemp("framing")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    makers = services()
    try:
        yield next(makers)(store.home, WORKERS="1").ready()
    finally:
        makers.close()


@pytest.fixture(params=["at once", "in two parts"])
def ask(request: pytest.FixtureRequest, service: Service) -> Ask:
    """Sends a request, and then two more: `next`, and `last` that closes the connection."""

    def once(raw: Raw) -> Answers:
        return exchange(service.port, raw.head + raw.body + NEXT + LAST)

    def in_parts(raw: Raw) -> Answers:
        # Another request, answered, tells that the head has been read: there is one worker.
        answered = lambda: exchange(service.port, LAST)  # noqa: E731
        return exchange(service.port, raw.head, raw.body + NEXT + LAST, after=answered)

    return once if request.param == "at once" else in_parts


def _all(ask: Ask, raws: Iterator[Raw]) -> Iterator[tuple[Raw, Answers]]:
    asked = list(raws)
    with ThreadPoolExecutor(16) as pool:
        yield from zip(asked, pool.map(ask, asked), strict=True)


def test_a_request_whose_end_is_certain_has_one_answer_and_so_have_the_next(ask: Ask) -> None:
    for raw, answers in _all(ask, good()):
        assert len(answers.statuses) == 3, (raw.name, answers)
        assert answers.statuses[0] < 500, (raw.name, answers)
        assert answers.statuses[1:] == (200, 200), (raw.name, answers)
        assert [answers.named(name) for name in ("inner", "next", "last")] == [0, 1, 1], (raw.name, answers)


def test_behind_a_request_that_closes_the_connection_nothing_is_read(ask: Ask) -> None:
    for raw, answers in _all(ask, closing()):
        assert answers.statuses == (400,), (raw.name, answers)
        assert answers.error()["code"] == "invalid_image", (raw.name, answers)


def test_what_can_be_read_in_two_ways_is_refused_once_in_our_shape(ask: Ask) -> None:
    for raw, answers in _all(ask, refused()):
        assert answers.statuses == (400,), (raw.name, answers)
        error = answers.error()
        assert error.keys() == {"code", "message", "request_id", "transient"}, (raw.name, error)
        assert error["code"] == "invalid_argument", (raw.name, error)
        assert b"connection: close" in answers.data, (raw.name, answers)
        assert not any(map(answers.named, ("inner", "next", "last"))), (raw.name, answers)


def test_what_is_refused_waits_for_the_answers_before_it(service: Service) -> None:
    answers = exchange(service.port, NEXT + NEXT + b"GARBAGE\r\n\r\n" + LAST)
    assert answers.statuses == (200, 200, 400)
    assert (answers.named("next"), answers.named("last")) == (2, 0)


def test_an_answer_that_is_given_is_not_followed_by_a_refusal(service: Service) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answered = lambda: exchange(service.port, LAST)  # noqa: E731
    assert exchange(service.port, head, b"no size\r\n" + LAST, after=answered).statuses == (404,)


def test_headers_without_an_end_are_refused(service: Service) -> None:
    answers = exchange(service.port, b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 1_000_000)
    assert answers.statuses == (431,)
    assert answers.error()["code"] == "headers_too_large"


def test_refusals_are_counted_and_what_is_in_bodies_is_not(service: Service) -> None:
    def counted() -> tuple[float, float]:
        health = service.figure("http_requests_total", endpoint="/livez")
        return health, service.figure("http_requests_total", endpoint="other", method="other", status="400")

    before = counted()
    asked = [raw for raw in refused() if raw.name in ("chunks and length", "HTTP/2's preface", "CONNECT")]
    for raw in asked:
        exchange(service.port, raw.head + raw.body)
    assert counted() == (before[0], before[1] + len(asked))
