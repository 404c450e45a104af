"""Whatever is sent as a picture: it is answered, or refused in the one shape, and nothing grows."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.e2e.harness import Service
from tests.e2e.odd_requests import MAX_BODY, odd_request
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.e2e.wire import Reply, Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_GROWTH = 8_000_000

# Bytes beyond the announced body are no request: the HTTP server refuses them by itself.
_NOT_HTTP = b"Invalid HTTP request received."


def test_odd_requests_are_refused_in_the_one_shape_and_nothing_grows(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, OKAWARI_MAX_BODY_BYTES=str(MAX_BODY)).ready()
    workers = service.pids()
    seen: Counter[int] = Counter()
    for seed in range(SIZES.fuzz):
        seen[_send(service, seed)] += 1
    assert seen[200] > SIZES.fuzz / 20, seen
    assert {400, 413, 415, 422} <= set(seen), seen
    before = service.resident()
    # The same again: whatever can be kept for later was kept the first time.
    for seed in range(SIZES.fuzz):
        _send(service, seed)
    grown = service.resident() - before
    print(f"{SIZES.fuzz} odd requests twice: {dict(seen)}, {grown / 1e6:.1f} MB more")
    assert grown < _GROWTH * service.count
    assert service.pids() == workers
    assert service.version() == "v1"
    until(lambda: service.figure("model_leases") == 0, "every lease is given back, as the next look tells")
    assert not [line for line in service.lines() if "Traceback" in line]


def _send(service: Service, seed: int) -> int:
    """Send a seed's request; the status, or 0 when there need not be an answer and there is none."""
    request = odd_request(seed)
    with Wire(service) as wire:
        try:
            wire.send(request.data)
            if not request.whole:
                wire.finish()
            reply = wire.reply()
        except ConnectionError:
            assert not request.whole, f"seed {seed}: no answer"
            return 0
    if not request.whole and reply.body == _NOT_HTTP:
        return reply.status
    _check(seed, reply)
    return reply.status


def _check(seed: int, reply: Reply) -> None:
    what = f"seed {seed}: {reply.status} {reply.body[:300]!r}"
    assert reply.status < 500, what
    assert reply.headers["content-type"] == "application/json", what
    document = reply.json()
    if reply.status == 200:
        assert document["model_version"] == "v1", what
        return
    assert set(document) == {"error"}, what
    assert set(document["error"]) == {"code", "message", "request_id", "transient"}, what
    assert document["error"]["request_id"] == reply.headers["x-request-id"], what
