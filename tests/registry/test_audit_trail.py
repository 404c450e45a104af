"""What is recorded of switches, refusals and changes of targets, by several workers and without a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hotswap.desired import put_back, record_serving, seed, set_loaded, set_target
from hotswap.events import Observer, Observers, Swap
from hotswap.tags import ModelTag
from registry import audit_trail
from registry.audit import AuditLog, Chain, Record
from registry.audit_key import AuditKey
from registry.audit_trail import AuditedDesired, AuditTrail
from tests.support.audit_memory import AuditMemory
from tests.support.desired_memory import DesiredMemory

V3 = ModelTag("m", "v3")


class Store(AuditMemory):
    """A disk that may be full."""

    full = False

    def append(self, source: str | None, chain: Chain) -> Sequence[Record]:
        if self.full:
            raise OSError("no space left")
        return super().append(source, chain)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def worker(store: Store, tmp_path: Path) -> Callable[[str], AuditTrail]:
    return lambda run: AuditTrail(AuditLog(store, AuditKey(tmp_path)), run)


def facts(store: Store, *names: str) -> list[tuple[Any, ...]]:
    """Some fields of all records."""
    return [tuple(getattr(entry, name) for name in names) for entry in store.read()]


def test_a_switch_that_all_workers_report_is_one_record(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    first = Swap("m", None, "v1", 1, "sha256:1", "ann", "better")
    second = Swap("m", "v1", None, 2, None)
    one, other = worker("run"), worker("run")
    for swap in (first, second):
        one.published(swap)
    for swap in (first, second):
        other.published(swap)
    assert facts(store, "action", "model", "before", "after", "actor", "reason", "digests", "outcome") == [
        ("switch", "m", None, "v1", "ann", "better", {"v1": "sha256:1"}, "serving"),
        ("switch", "m", "v1", None, None, None, {}, "unloaded"),
    ]


def test_each_run_of_the_service_records_what_it_starts_with(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    swap = Swap("m", None, "v1", 1, "sha256:1")
    worker("monday").published(swap)
    worker("tuesday").published(swap)
    assert facts(store, "after") == [("v1",), ("v1",)]


def test_a_refusal_is_recorded_once_for_each_reason_not_for_each_retry(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    for trail in (worker("run"), worker("run")):
        for seconds in range(3):
            trail.failed(V3, f"too slow: {seconds} s", 2.0**seconds)
        trail.failed(V3, "answers with NaN", 8.0)
    assert facts(store, "action", "after", "reason", "outcome") == [
        ("refusal", "v3", "too slow: 0 s", "refused"),
        ("refusal", "v3", "answers with NaN", "refused"),
    ]


def test_what_could_not_be_stored_waits_in_order_and_keeps_its_time(
    store: Store, worker: Callable[[str], AuditTrail], monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = worker("run")
    store.full = True
    trail.published(Swap("m", None, "v1", 1, "sha256:1"))
    store.full = False
    trail.retry()  # too soon after the failure
    assert facts(store, "after") == []
    monkeypatch.setattr(audit_trail.time, "monotonic", lambda: float("inf"))
    trail.retry()
    trail.published(Swap("m", "v1", "v2", 2, "sha256:2"))
    assert facts(store, "after") == [("v1",), ("v2",)]
    times = [entry.time for entry in store.read() if isinstance(entry, Record)]
    assert times == sorted(times)


def test_changes_of_targets_are_recorded_by_whatever_edit(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    desired = AuditedDesired(DesiredMemory(), worker("run").add)
    first = desired.edit(seed("m:v1", None))
    pinned = desired.edit(set_target("m", "v2", "ann", "better boxes"))
    desired.edit(record_serving("m", "v1", "sha256:1", 1))
    desired.edit(put_back("m", first.models["m"], pinned.revision))
    desired.edit(set_loaded("m", False, "bob", "unload"))
    desired.edit(lambda document: document)
    assert facts(store, "actor", "reason", "before", "after", "outcome") == [
        ("environment", "OKAWARI_SERVE", "latest", "v1", "done"),
        ("ann", "better boxes", "v1", "v2", "done"),
        ("ann", None, "v2", "v1", "put back"),
        ("bob", "unload", "v1", None, "done"),
    ]


def test_a_model_that_was_wanted_by_itself_followed_latest(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    desired = AuditedDesired(DesiredMemory(), worker("run").add)
    pinned = desired.edit(set_target("m", "v2", "ann", None))
    desired.edit(put_back("m", None, pinned.revision))
    assert facts(store, "before", "after", "outcome") == [
        ("latest", "v2", "done"),
        ("v2", "latest", "put back"),
    ]


def test_an_observer_that_raises_keeps_nothing_from_the_others(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    class Broken(Observer):
        def published(self, swap: Swap) -> None:
            raise ValueError("no")

    Observers(Broken(), worker("run")).published(Swap("m", None, "v1", 1, "sha256:1"))
    assert facts(store, "after") == [("v1",)]
