"""gRPC on the real service while models are swapped, workers are lost and the service ends."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from api.protos import inference_pb2 as pb
from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.many import all_listen
from tests.e2e.order import goes_back
from tests.e2e.reporting import Start
from tests.e2e.rpc_load import RpcLoad, channel, infer, pictures, told
from tests.e2e.sizes import LIMIT, SIZES, SOON
from tests.e2e.slow_model import Pace, add_slow, leases
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
        # Who is replaced has told of itself long before it takes calls.
        all_listen(service, 2)
    load.reach(len(load.shots) + 200)


def test_ending_one_of_two_workers_fails_no_call_of_who_repeats(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    with RpcLoad(service, kept=4, fresh=4, repeats=True) as load:
        _end_each(service, load)
    print(f"{len(load.shots)} calls while two workers ended")
    assert load.failures == []
    assert load.contradictions == []


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
    assert [shot for shot in load.sent_before(ending) if shot.status != 200] == []
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
        until(lambda: leases(service) == 1, "the model runs")
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
        infer(one)
        call = one.stream_unary("/inference.GRPCInferenceService/ModelInfer").future(messages(), timeout=SOON)
        infer(one)  # what came before on this connection has been heard
        service.signal(signal.SIGTERM)
        until(lambda: any("cleanup hook: stop" in line for line in service.lines()), "HTTP has ended")
        # The port is closed when the server has been told to stop: from now on it waits for this call alone.
        until(lambda: not _listens(service.grpc_port), "gRPC takes no more connections")
        assert service.master.poll() is None
        sending.set()
        assert told(pb.ModelInferResponse.FromString(call.result())) == "v1"
    assert service.ended() == 0


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
