"""gRPC on the real service: swaps, workers, the end, certificates, and a port that cannot be had."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from api.protos import inference_pb2 as pb
from tests.e2e.certificates import Authority, Pair
from tests.e2e.harness import Service, free_port
from tests.e2e.load import Load
from tests.e2e.order import goes_back
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import RpcLoad, channel, infer, pictures, told
from tests.e2e.sizes import LIMIT, SIZES, SOON
from tests.e2e.slow_model import Pace, add_slow
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


# --- swaps and workers ---------------------------------------------------------------------------


def test_swaps_fail_no_call_and_answers_go_back_over_no_wire(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    with Load(service, kept=1, fresh=1) as http, RpcLoad(service, kept=2, fresh=1) as rpc:
        for swap in range(2, SIZES.worker_swaps // 2 + 2):
            store.add(f"v{swap}", swap)
            http.sees(f"v{swap}")
            rpc.sees(f"v{swap}")
    shots = [*http.shots, *rpc.shots]
    print(f"{len(rpc.shots)} calls and {len(http.shots)} requests over {SIZES.worker_swaps // 2} swaps")
    for load in (http, rpc):
        assert load.failures == []
        assert load.contradictions == []
        assert {shot.fresh for shot in load.shots} == {True, False}
    assert goes_back(shots) == []


def test_connections_come_to_all_workers_and_a_lost_one_is_replaced(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()

    def asked() -> set[str]:
        with channel(service) as fresh:
            assert told(infer(fresh)) == "v1"
        samples = service.samples("grpc_requests_total", code="OK")
        return {sample.labels["worker"] for sample in samples if sample.value}

    until(lambda: len(asked()) == 2, "both workers were asked")
    lost = service.workers()[0].pid
    os.kill(lost, signal.SIGKILL)
    until(lambda: lost not in {each.pid for each in service.workers()}, "it is gone")
    until(lambda: len(service.workers()) == 2, "it is replaced")
    before = {sample.labels["worker"]: sample.value for sample in service.samples("grpc_requests_total")}

    def grown() -> bool:
        asked()
        samples = service.samples("grpc_requests_total", code="OK")
        return all(sample.value > before[sample.labels["worker"]] for sample in samples)

    until(grown, "both are asked again")


def _end_each(service: Service, load: RpcLoad) -> None:
    """End the workers of now, one after the other, each when it is known to answer."""
    for worker in service.workers():
        load.reach(len(load.shots) + 200)
        os.kill(worker.pid, signal.SIGTERM)
        until(lambda pid=worker.pid: pid not in service.pids(), "it has ended")
        until(lambda: len(service.workers()) == 2, "it is replaced")
    load.reach(len(load.shots) + 200)


def test_ending_one_of_two_workers_fails_no_call_of_who_repeats(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    with RpcLoad(service, kept=4, fresh=4, repeats=True) as load:
        _end_each(service, load)
    print(f"{len(load.shots)} calls while two workers ended")
    assert load.failures == []
    assert load.contradictions == []


def test_ending_one_of_two_workers_resets_no_connection(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    with RpcLoad(service, kept=0, fresh=8) as load:
        _end_each(service, load)
    # Whoever repeats nothing hears of the very moment in which the library stops, yet always finds a worker.
    assert [shot for shot in load.failures if "connect" in shot.why.lower()] == []
    told = [line for line in service.lines() if 'other workers take the connections from now on"' in line]
    assert len(told) == 2


# --- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_calls_from_before_the_end_are_answered(make_service: Start, store: Store, workers: str) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=workers).ready()
    with RpcLoad(service, kept=4, fresh=0) as load:
        load.reach(200)
        until(lambda: load.shots[-1].status == 200, "it answers")
        ending = time.monotonic()
        assert service.stop() == 0
    heard = [shot for shot in load.shots if shot.begun < ending]
    assert [shot for shot in heard if shot.status != 200] == []
    # The library cancels what reaches it in the very moment in which it stops.
    expected = {"StatusCode.UNAVAILABLE", "StatusCode.CANCELLED"}
    assert {shot.why.partition(":")[0] for shot in load.failures} <= expected
    assert service.gone()


def test_a_model_that_runs_finishes_its_call_while_the_service_ends(
    make_service: Start, store: Store
) -> None:
    add_slow(store)
    service = make_service(store.home, WORKERS="2").ready()
    image = Pace(service).picture(3)
    with channel(service) as one:
        request = pictures("slow")
        request.inputs[0].contents.bytes_contents[0] = image
        send = one.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            type(request).SerializeToString,
        )
        call = send.future(request, timeout=60)
        until(lambda: _leases(service) == 1, "the model runs")
        service.signal(signal.SIGTERM)
        assert call.result()
    assert service.ended() == 0


def test_a_call_whose_message_is_still_on_its_way_is_answered_before_the_service_ends(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    sending = threading.Event()

    def messages() -> Iterator[bytes]:
        sending.wait(SOON)
        yield pictures().SerializeToString()

    with channel(service) as one:
        call = one.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(messages(), timeout=SOON)
        with channel(service) as other:
            infer(other)  # whoever came before has been heard
        service.signal(signal.SIGTERM)
        until(lambda: any("cleanup hook: stop" in line for line in service.lines()), "HTTP has ended")
        # Nothing tells that a process is *not* about to end; without its reason to stay it would by now.
        time.sleep(1)
        sending.set()
        assert told(pb.ModelInferResponse.FromString(call.result())) == "v1"
    assert service.ended() == 0


def _leases(service: Service) -> float:
    service.client.post("/api/v1/reload")
    return service.figure("model_leases", model="slow")


# --- the port ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_ends_the_start_with_one_line(
    make_service: Start, store: Store, workers: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = make_service(store.home, GRPC_PORT=str(port), WORKERS=workers).launch()
        assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert line == (
        f"okawari: gRPC cannot listen on 127.0.0.1:{port}: Address already in use; "
        "set GRPC_PORT to another port, or to 0 for none"
    )
    assert not any("Traceback" in line for line in service.lines())


def test_a_worker_that_cannot_have_the_port_does_not_serve_half(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home).ready()
    os.kill(service.worker(), signal.SIGKILL)
    with _stolen(service.grpc_port):
        assert service.ended() != 0
    assert any(f"gRPC cannot listen on 127.0.0.1:{service.grpc_port}" in line for line in service.lines())
    until(service.gone, "no worker is left")


def _stolen(port: int) -> socket.socket:
    """The port, as soon as its owner has gone."""
    thief = socket.socket()
    thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def take() -> bool:
        try:
            thief.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

    until(take, "the port is free")
    thief.listen()
    return thief


def test_without_a_port_there_is_http_alone(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, GRPC_PORT="0").ready()
    assert service.version() == "v1"
    assert service.stop() == 0


def test_grpc_listens_where_http_listens(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, host="127.0.0.2", GRPC_PORT=str(free_port("127.0.0.2"))).launch()
    until(lambda: len(service.workers()) == 1, "it is up")

    def answers(host: str) -> bool:
        with grpc.insecure_channel(f"{host}:{service.grpc_port}") as one:
            try:
                return told(infer(one, timeout=5)) == "v1"
            except grpc.RpcError:
                return False

    until(lambda: answers("127.0.0.2"), "it answers")
    assert not answers("127.0.0.1")


# --- certificates --------------------------------------------------------------------------------


def _tls(pair: Pair, **more: Path) -> dict[str, str]:
    files = {"OKAWARI_GRPC_TLS_CERT": pair.certificate, "OKAWARI_GRPC_TLS_KEY": pair.key, **more}
    return {name: str(file) for name, file in files.items()}


def _asks(service: Service, roots: Authority | None, own: Pair | None = None) -> bool:
    """Whether a client that trusts `roots` (None: speaks plain text) is answered."""
    key, chain = own.read() if own else (None, None)
    trusted = roots.own.certificate.read_bytes() if roots else None
    credentials = grpc.ssl_channel_credentials(trusted, key, chain) if roots else None
    with channel(service, credentials) as one:
        try:
            return told(infer(one, timeout=10)) == "v1"
        except grpc.RpcError as error:
            refused: Any = error
            assert refused.code() is grpc.StatusCode.UNAVAILABLE
            return False


def test_with_a_certificate_only_tls_is_spoken(make_service: Start, store: Store, tmp_path: Path) -> None:
    store.add("v1", 1)
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    service = make_service(store.home, **_tls(ours.vouch("server"))).ready()
    assert _asks(service, ours)
    assert not _asks(service, others)
    assert not _asks(service, None)
    assert service.version() == "v1"


def test_with_a_client_authority_only_its_clients_are_let_in(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    ours, others = Authority(tmp_path / "ours"), Authority(tmp_path / "others")
    mutual = {"OKAWARI_GRPC_TLS_CLIENT_CA": ours.own.certificate}
    service = make_service(store.home, **_tls(ours.vouch("server"), **mutual)).ready()
    assert _asks(service, ours, ours.vouch("client"))
    assert not _asks(service, ours)
    assert not _asks(service, ours, others.vouch("client"))


@pytest.mark.parametrize("what", ["no file", "another key", "no PEM", "encrypted", "no authority"])
def test_certificates_that_cannot_be_used_end_the_start_with_one_line(
    make_service: Start, store: Store, tmp_path: Path, what: str
) -> None:
    ours = Authority(tmp_path / "ours")
    pair, other = ours.vouch("server"), ours.vouch("other")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("-----BEGIN NOTHING-----\n")
    settings = {
        "no file": _tls(Pair(tmp_path / "missing.pem", pair.key)),
        "another key": _tls(Pair(pair.certificate, other.key)),
        "no PEM": _tls(Pair(wrong, pair.key)),
        "encrypted": _tls(Pair(pair.certificate, ours.locked(pair.key))),
        "no authority": _tls(pair, OKAWARI_GRPC_TLS_CLIENT_CA=wrong),
    }[what]
    service = make_service(store.home, **settings).launch()
    assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    assert str(tmp_path) in line
    assert not any("Traceback" in line for line in service.lines())
