"""Connections: each worker gets its part of them, and none that waits is lost when a worker ends."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.many import all_gone, all_listen, ask, shares, stopped, told_to_end, wires
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

#: Connections, and what each of 2 or 4 workers gets of them at least.
MANY, LEAST = 64, {2: 16, 4: 8}
#: Rounds under load until each worker gets its part: who has no core for a moment is waited for only briefly.
ROUNDS = 5
#: Seconds after which a worker that stands still does not count.
NO_HEARTBEAT = 2.0


def _start(make_service: Start, store: Store, workers: int) -> Service:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=str(workers), OKAWARI_MAX_CONCURRENT_REQUESTS="200").ready()
    service.hang_up()
    all_listen(service, workers)
    return service


def _pids(service: Service) -> list[int]:
    return [state.pid for state in service.workers()]


@pytest.mark.parametrize("workers", [2, 4])
def test_kept_connections_are_spread_over_the_workers(
    make_service: Start, store: Store, workers: int
) -> None:
    service = _start(make_service, store, workers)
    with wires(service, MANY) as silent:
        assert min(shares(service, silent).values()) >= LEAST[workers]
    all_gone(service, workers)
    with Load(service) as load:
        load.reach(50)
        fewest = [_fewest_under_load(service) for _ in range(ROUNDS)]
    assert max(fewest) >= LEAST[workers], fewest
    assert load.failures == []
    all_gone(service, workers)


def _fewest_under_load(service: Service) -> int:
    """What the worker with the fewest of `MANY` answered connections has."""
    with wires(service, MANY) as kept:
        for wire in kept:
            ask(wire)
        assert [wire.reply().status for wire in kept] == [200] * MANY
        return min(shares(service, kept).values())


def test_a_worker_that_stands_still_holds_nobody_up(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    still, going = _pids(service)
    with wires(service, 20) as kept:
        before = shares(service, kept)
        # The one that goes on has more connections, so each new one is the other's turn.
        with stopped(still), wires(service, 10) as more:
            for wire in more:
                ask(wire)
            assert [wire.reply().status for wire in more] == [200] * 10
            assert shares(service, [*kept, *more]) == {still: before[still], going: before[going] + 10}


def test_kept_connections_come_to_a_worker_that_has_none(make_service: Start, store: Store) -> None:
    """Those of a killed worker go to the others, and would stay there for as long as clients keep them."""
    service = _start(make_service, store, 2)
    idle, busy = _pids(service)
    with ExitStack() as stack:
        with stopped(idle):
            time.sleep(NO_HEARTBEAT)
            kept = [stack.enter_context(Wire(service)) for _ in range(16)]
            assert shares(service, kept) == {idle: 0, busy: 16}
        moved = 0

        def is_even() -> bool:
            nonlocal moved
            for place, wire in enumerate(kept):
                ask(wire)
                reply = wire.reply()
                assert reply.status == 200
                if reply.headers.get("connection") == "close":
                    kept[place] = stack.enter_context(Wire(service))
                    moved += 1
            return min(shares(service, kept).values()) >= 6

        until(is_even, "the idle worker has its part")
        assert moved < 16
        assert service.figure("http_connections_closed_total", reason="spread") == moved


def test_connections_that_wait_when_a_worker_is_killed_are_answered_by_the_other(
    make_service: Start, store: Store
) -> None:
    service = _start(make_service, store, 2)
    killed, other = _pids(service)
    with stopped(other), stopped(killed), wires(service, 20) as waiting:
        for wire in waiting:
            ask(wire)
        os.kill(killed, signal.SIGKILL)
        os.kill(other, signal.SIGCONT)
        assert [wire.reply().status for wire in waiting] == [200] * 20


def test_connections_that_wait_when_the_only_worker_is_killed_are_answered_by_the_next(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="1").ready()
    service.hang_up()
    (killed,) = _pids(service)
    with stopped(killed), wires(service, 20) as waiting:
        for wire in waiting:
            ask(wire)
        os.kill(killed, signal.SIGKILL)
        assert [wire.reply().status for wire in waiting] == [200] * 20
    assert service.master.poll() is None


def test_connections_that_wait_when_a_worker_ends_are_answered(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    ending, other = _pids(service)
    with stopped(other), stopped(ending), wires(service, 20) as waiting:
        for wire in waiting:
            ask(wire)
        os.kill(ending, signal.SIGTERM)
        os.kill(ending, signal.SIGCONT)
        until(lambda: _left(service, ending), "the worker has ended, or waits for what it took")
        os.kill(other, signal.SIGCONT)
        assert [wire.reply().status for wire in waiting] == [200] * 20


def _left(service: Service, pid: int) -> bool:
    return pid not in _pids(service)


def test_connections_that_wait_when_the_service_ends_are_answered(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    pids = _pids(service)
    with stopped(*pids), wires(service, 20) as waiting:
        for wire in waiting:
            ask(wire)
        service.signal(signal.SIGTERM)
        until(lambda: all(told_to_end(pid) for pid in pids), "both are told to end")
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        replies = [wire.reply() for wire in waiting]
    assert [reply.status for reply in replies] == [200] * 20
    assert {reply.headers["connection"] for reply in replies} == {"close"}
    assert service.ended() == 0
    assert service.gone()


def test_workers_that_end_under_load_fail_no_request(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    with Load(service, kept=2, fresh=10) as load:
        load.reach(50)
        for turn in range(4):
            ending = _pids(service)[turn % 2]
            os.kill(ending, signal.SIGTERM)
            until(partial(_left, service, ending), "the worker has ended")
            until(lambda: len(_pids(service)) == 2, "another takes its place")
            all_listen(service, 2)
    assert load.failures == []


def test_a_service_of_two_workers_ends_without_losing_a_request(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    with Load(service) as load:
        load.reach(200)
        ending = time.monotonic()
        code = service.stop()
    assert [shot for shot in load.sent_before(ending) if shot.status != 200] == []
    assert code == 0
    assert service.gone()


def test_a_fresh_connection_is_not_kept_waiting(make_service: Start, store: Store) -> None:
    service = _start(make_service, store, 2)
    with wires(service, 10) as kept, Wire(service) as one:
        shares(service, kept)
        waits = [(_fresh(service), _seconds(one)) for _ in range(50)]
    fresh, usual = (sorted(each)[25] for each in zip(*waits, strict=True))
    # A busy machine is slow with both.
    assert fresh < 0.05 + 10 * usual


def _fresh(service: Service) -> float:
    begun = time.monotonic()
    with Wire(service) as wire:
        _seconds(wire)
    return time.monotonic() - begun


def _seconds(wire: Wire) -> float:
    begun = time.monotonic()
    wire.head("/livez", "GET")
    assert wire.reply().status == 200
    return time.monotonic() - begun
