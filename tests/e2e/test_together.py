"""Several workers answer as one: they switch at one point in time, whatever happens to any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load, Shot
from tests.e2e.order import goes_back, number
from tests.e2e.pictures import picture
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT, SIZES
from tests.e2e.stops import BETWEEN, STEPS, Stops
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

_KEPT, _FRESH = 8, 3
_POST: dict[str, Any] = {"content": picture(), "headers": {"content-type": "image/jpeg"}}


@pytest.mark.parametrize("workers", [2, 4])
def test_under_load_no_answer_is_older_than_one_already_given(
    make_service: Start, store: Store, workers: int
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=str(workers)).ready()
    with Load(service, kept=_KEPT, fresh=_FRESH) as load:
        for code in range(2, SIZES.worker_swaps + 2):
            store.add(f"v{code}", code)
            load.sees(f"v{code}")
            _all_serve(service, f"v{code}", workers)
    _report(load, workers)
    assert load.failures == []
    assert load.contradictions == []
    assert goes_back(load.shots) == []
    assert {shot.claimed for shot in load.shots} == {f"v{n}" for n in range(1, SIZES.worker_swaps + 2)}


@pytest.mark.parametrize("workers", [2, 4])
def test_a_new_model_is_not_missed_by_anybody_after_its_first_answer(
    make_service: Start, store: Store, workers: int
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS=str(workers)).ready()
    for turn in range(SIZES.new_models):
        with Load(service, kept=4, fresh=2, model=f"new{turn}") as load:
            load.reach(20)
            store.add("v1", 1, name=f"new{turn}")
            load.sees("v1")
            load.reach(len(load.shots) + 40)
        first = min(shot.ended for shot in load.shots if shot.status == 200)
        missed = [shot for shot in load.failures if shot.begun > first]
        assert missed == []
        assert {shot.status for shot in load.failures} <= {404, 503}
        assert 404 in {shot.status for shot in load.failures}


def test_a_target_set_through_one_worker_holds_in_all_and_after_a_restart(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, WORKERS="2").ready()
    clients = [httpx.Client(base_url=service.url, timeout=60, trust_env=False) for _ in range(16)]
    for client in clients:
        assert client.get("/livez").status_code == 200
    for turn, client in enumerate(clients):
        target = ("v1", "v2")[turn % 2]
        answer = client.put("/models/m/target", json={"target": target, "reason": f"turn {turn}"})
        assert answer.status_code == 200, answer.text
        for other in clients:
            assert other.post("/predict?model=m", **_POST).json()["model_version"] == target
            seen = other.get("/models/m").json()
            assert (seen["target"], seen["serving"]) == (target, target)
    for client in clients:
        client.close()
    assert service.target("v1").status_code == 200
    service.stop()
    again = make_service(store.home, WORKERS="2").ready()
    assert {again.version() for _ in range(8)} == {"v1"}
    assert again.model()["target"] == "v1"


def test_a_reload_asked_of_one_worker_reaches_all(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    before = [state.reload_seen for state in service.workers()]
    assert service.client.post("/api/v1/reload").status_code == 200
    until(
        lambda: all(state.reload_seen > max(before) for state in service.workers()), "every worker has looked"
    )


@pytest.fixture
def stops(store: Store) -> Stops:
    return Stops(store.scratch / "stops")


@pytest.mark.parametrize("workers", [2, 4])
def test_a_worker_stopped_or_killed_in_a_swap_leaves_all_on_one_version(
    make_service: Start, store: Store, stops: Stops, workers: int
) -> None:
    store.add("v1", 1)
    service = make_service(
        store.home,
        WORKERS=str(workers),
        TEST_STOPS=str(stops.folder),
        serve="tests.e2e.stopping_service:Okawari",
    ).ready()
    with Load(service, kept=_KEPT, fresh=_FRESH) as load:
        trials = Trials(service, store, stops, load)
        for step in BETWEEN * SIZES.stops + (STEPS if SIZES.stops > 1 else ()):
            trials.stop(step)
            trials.kill(step)
            _all_serve(service, trials.newest, workers)
    _report(load, workers)
    assert load.contradictions == []
    assert goes_back(load.shots) == []
    broken = load.failures
    assert all(shot.status == 0 for shot in broken), broken
    # At most what the killed worker had in hand: one request a connection.
    assert len(broken) <= trials.kills * (_KEPT + _FRESH)


@dataclass
class Trials:
    """Swaps in which one worker is stopped or killed, each to a new version."""

    service: Service
    store: Store
    stops: Stops
    load: Load
    swaps: int = 1
    kills: int = 0

    @property
    def newest(self) -> str:
        """The version that was imported last."""
        return f"v{self.swaps}"

    def stop(self, step: str) -> None:
        """A worker is stopped at `step`: the others go on; continued, it answers nothing that was left."""
        with self.stops.stopped(step):
            self._import()
            self.stops.reached(step)
            _fresh_answer(self.service, self.newest)
        self.load.sees(self.newest)

    def kill(self, step: str) -> None:
        """A worker is killed at `step`: the others go on, and it is replaced."""
        self.stops.kill(step)
        self._import()
        killed = self.stops.killed(step)
        self.kills += 1
        _fresh_answer(self.service, self.newest)
        self.load.sees(self.newest)
        until(lambda: killed not in [each.pid for each in self.service.workers()], "the dead is forgotten")

    def _import(self) -> None:
        self.swaps += 1
        self.store.add(self.newest, self.swaps)


def _fresh_answer(service: Service, version: str) -> None:
    """Wait until a worker that lives answers with this version; a stopped one never takes the connection."""

    def answered() -> bool:
        with httpx.Client(base_url=service.url, timeout=5, trust_env=False) as client:
            try:
                answer = client.post("/predict?model=m", **_POST)
            except httpx.TransportError:
                return False
            return answer.status_code == 200 and bool(answer.json()["model_version"] == version)

    until(answered, f"{version} answers")


def _all_serve(service: Service, version: str, workers: int) -> None:
    def serve() -> bool:
        states = service.workers()
        return len(states) == workers and all(
            (model := state.models.get("m")) is not None and model.serving == version for state in states
        )

    until(serve, f"{workers} workers serve {version}")


def _report(load: Load, workers: int) -> None:
    shots = load.shots
    print(
        f"{workers} workers, {len(shots)} requests: {len(load.failures)} failures, "
        f"{len(load.contradictions)} contradictions, {len(goes_back(shots))} older than one already given; "
        f"old and new overlapped at most {_overlap(shots) * 1e3:.1f} ms"
    )


def _overlap(shots: list[Shot]) -> float:
    """Seconds from the first answer of a version to the last of an older one: requests under way."""
    answered = [shot for shot in shots if shot.status == 200]
    worst = 0.0
    for version in sorted({number(shot) for shot in answered})[1:]:
        first = min(shot.ended for shot in answered if number(shot) == version)
        last = max(shot.ended for shot in answered if number(shot) < version)
        worst = max(worst, last - first)
    return worst
