"""More models than fit into the memory of the service: each is answered, none loses a request."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.builders import code_of
from tests.e2e.harness import Service
from tests.e2e.heavy_model import add_heavy
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

MB = 1_000_000
NAMES = [f"m{number}" for number in range(8)]


def _ask(service: Service, name: str) -> tuple[int, str, float]:
    """Status, version, and the score, which is the model's code."""
    reply = service.predict(picture(), model=name)
    if reply.status_code != 200:
        return reply.status_code, reply.text, 0.0
    body = reply.json()
    return 200, body["model_version"], code_of(body["detections"][0]["score"])


@pytest.mark.parametrize("workers", [1, 2])
def test_models_that_do_not_fit_take_turns(make_service: Start, store: Store, workers: int) -> None:
    for code, name in enumerate(NAMES):
        add_heavy(store, "v1", code, 20 * MB, name)
    service = make_service(
        store.home, WORKERS=str(workers), OKAWARI_MEMORY_BUDGET=f"{150 * workers + 150}MB"
    ).ready()
    chosen = random.Random(7)
    names = chosen.choices(NAMES, weights=[2.0**-place for place in range(len(NAMES))], k=SIZES.many_models)
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda name: _ask(service, name), names))
    print(Counter((status, text if status != 200 else "") for status, text, _ in replies))
    assert {status for status, _, _ in replies} == {200}
