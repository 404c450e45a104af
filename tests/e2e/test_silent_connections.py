"""Who connects and says nothing, or not enough, is not waited for without end, and takes nobody's place."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from tests.e2e.certificates import Authority
from tests.e2e.exchange import exchange
from tests.e2e.framing import H2C
from tests.e2e.harness import Service
from tests.e2e.many import ask
from tests.e2e.reporting import Start, services
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2 * LIMIT)]

_HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
#: As many as have no place under the limit of open files, whatever the number of workers.
MANY, FILES = 2_000, 1_024


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that waits for one second."""
    folder = tmp_path_factory.mktemp("silent")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    makers = services()
    try:
        yield next(makers)(store.home, WORKERS="1", OKAWARI_HEADER_TIMEOUT="1").ready()
    finally:
        makers.close()


@contextmanager
def _closing(service: Service, reason: str) -> Iterator[None]:
    """One connection is closed by the service meanwhile, for this reason."""
    before = _closed(service, reason)
    yield
    until(lambda: _closed(service, reason) > before, f"one is closed for its {reason}")


def _closed(service: Service, reason: str) -> int:
    return int(service.figure("http_connections_closed_total", reason=reason))


def test_a_connection_that_says_nothing_is_closed_without_a_word(impatient: Service) -> None:
    with _closing(impatient, "headers"):
        assert exchange(impatient.port).data == b""


@pytest.mark.parametrize("before", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "kept"])
def test_headers_that_do_not_end_are_answered_with_408(impatient: Service, before: bytes) -> None:
    answered = lambda: impatient.get("/livez")  # noqa: E731
    with _closing(impatient, "headers"):
        answers = exchange(impatient.port, *filter(None, (before, _HEAD)), after=answered)
    assert answers.statuses == ((200, 408) if before else (408,))
    assert answers.error()["code"] == "request_timeout"


@pytest.mark.parametrize("framing", [b"Content-Length: 9", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("part", [b"", b"1;"])
@pytest.mark.parametrize("offer", [b"", H2C])
def test_a_body_that_stands_still_is_answered_with_408(
    impatient: Service, framing: bytes, part: bytes, offer: bytes
) -> None:
    with _closing(impatient, "body"):
        answers = exchange(impatient.port, _HEAD + offer + framing + b"\r\n\r\n" + part)
    assert answers.statuses == (408,)
    assert answers.error()["code"] == "request_timeout"


def test_a_body_that_nobody_reads_does_not_keep_its_connection(impatient: Service) -> None:
    head = _HEAD.replace(b"/predict", b"/nowhere")
    answered = lambda: impatient.get("/livez")  # noqa: E731
    with _closing(impatient, "body"):
        answers = exchange(impatient.port, head + b"Content-Length: 9\r\n\r\n", b"1", after=answered)
    assert answers.statuses == (404,)


def test_a_client_that_takes_no_answer_is_left(impatient: Service) -> None:
    with _closing(impatient, "answer"), Wire(impatient) as wire, pytest.raises(ConnectionError):
        _ask_without_end(wire)


def _ask_without_end(wire: Wire) -> None:
    """The answers fill what the kernel holds for them, then the service reads no more."""
    while True:
        wire.send(b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10)


def test_a_handshake_over_grpc_that_does_not_end_is_given_up(impatient: Service) -> None:
    begun = time.monotonic()
    exchange(impatient.grpc_port)
    assert time.monotonic() - begun < SOON / 2  # the library's own limit is longer


def test_a_handshake_that_does_not_end_is_given_up(make_service: Start, store: Store, tmp_path: Path) -> None:
    pair = Authority(tmp_path / "certificates").vouch("service")
    store.add("v1", 1)
    https = f'exec "$0" "$@" --ssl-certfile {pair.certificate} --ssl-keyfile {pair.key}'
    service = make_service(store.home, through=("sh", "-c", https), OKAWARI_HEADER_TIMEOUT="1", WORKERS="1")
    service.launch()
    (state,) = until(service.workers, "it listens")
    service.port = state.port or 0
    assert exchange(service.port).data == b""
    context = ssl.create_default_context(cafile=str(tmp_path / "certificates" / "authority.pem"))
    with (
        socket.create_connection(("127.0.0.1", service.port), SOON) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        connection.settimeout(SOON)
        assert connection.recv(1) == b""


# --- the limit of open files -------------------------------------------------------------------------


@contextmanager
def _silent(port: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", port), SOON)) for _ in range(MANY)]


def _few_files(make_service: Start, store: Store, workers: int) -> Service:
    store.add("v1", 1)
    through = ("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh")
    service = make_service(store.home, WORKERS=str(workers), through=through).ready()
    service.hang_up()
    return service


@pytest.mark.parametrize("workers", [1, 2])
def test_silent_connections_make_room_for_predictions_and_swaps(
    make_service: Start, store: Store, workers: int
) -> None:
    service = _few_files(make_service, store, workers)
    with _silent(service.port):
        assert service.version() == "v1"
        store.add("v2", 2)
        service.serves("v2")
        for _ in range(20):
            service.hang_up()
            assert service.version() == "v2"
        assert _closed(service, "room") >= MANY - workers * FILES
        assert service.figure("http_connections") > 0


def test_silent_connections_on_both_ports_leave_room_for_swaps(make_service: Start, store: Store) -> None:
    service = _few_files(make_service, store, 1)
    with _silent(service.grpc_port), _silent(service.port):
        assert service.version() == "v1"
        store.add("v2", 2)
        service.serves("v2")
        service.hang_up()
        assert service.version() == "v2"
    assert [line for line in service.lines() if "no connection can be taken" in line] == []


def test_requests_under_way_are_not_closed_to_make_room(make_service: Start, store: Store) -> None:
    service = _few_files(make_service, store, 1)
    with Wire(service) as busy, Wire(service) as quiet:
        busy.head(Content_Type="image/jpeg", Content_Length=9)
        ask(quiet)
        assert quiet.reply().status == 200
        with _silent(service.port):
            assert service.version() == "v1"
            assert quiet.at_end()
            busy.send(b"123456789")
            assert busy.reply().json()["error"]["code"] == "invalid_image"


def test_callers_over_grpc_come_back_when_silent_ones_have_gone(make_service: Start, store: Store) -> None:
    service = _few_files(make_service, store, 1)
    with _silent(service.grpc_port):
        assert service.version() == "v1"
    with grpc.insecure_channel(service.grpc_address) as channel:
        grpc.channel_ready_future(channel).result(SOON)
