"""What is recorded of switches, refusals and changes of targets, by several workers and without a disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.registries import open_registry
from hotswap.desired import put_back, record_serving, seed, set_loaded, set_target
from hotswap.events import Observer, Observers, Swap
from manifest.tags import ModelTag
from registry import audit_trail
from registry.audit import AuditedDecision, AuditLog, Chain, Record
from registry.audit_key import AuditKey
from registry.audit_trail import AuditedDesired, AuditTrail, import_source
from registry.entries import By
from registry.registry_audit import RegistryAudit
from tests.support.audit_memory import AuditMemory
from tests.support.desired_memory import DesiredMemory

V3 = ModelTag("m", "v3")


class Store(AuditMemory):
    """A disk that may be full."""

    full = False

    def append(self, chain: Chain) -> Sequence[Record]:
        if self.full:
            raise OSError("no space left")
        return super().append(chain)


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
    assert not trail.waiting  # too soon after the failure
    assert facts(store, "after") == []
    monkeypatch.setattr(audit_trail.time, "monotonic", lambda: float("inf"))
    assert trail.waiting
    trail.write()
    trail.published(Swap("m", "v1", "v2", 2, "sha256:2"))
    assert facts(store, "after") == [("v1",), ("v2",)]
    times = [entry.time for entry in store.read() if isinstance(entry, Record)]
    assert times == sorted(times)


def test_changes_of_targets_are_recorded_by_whatever_edit(
    store: Store, worker: Callable[[str], AuditTrail]
) -> None:
    desired = AuditedDesired(DesiredMemory(), worker("run").add, lambda _: None)
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
    desired = AuditedDesired(DesiredMemory(), worker("run").add, lambda _: None)
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


@pytest.mark.parametrize(
    ("target", "action"),
    [
        ("v2", "override"),
        ("v1", "target"),
        ("latest", "override"),
        ("@production", "target"),
        ("@canary", "target"),
    ],
)
def test_who_follows_something_else_than_production_has_overridden_the_registry(
    store: Store, worker: Callable[[str], AuditTrail], target: str, action: str
) -> None:
    desired = AuditedDesired(DesiredMemory(), worker("run").add, lambda _: "v1")
    desired.edit(set_target("m", "v7", "ann", None))
    desired.edit(set_target("m", target, "ann", None))
    desired.edit(set_target("m", target, "ann", "the same again changes nothing"))
    desired.edit(set_loaded("m", False, "ann", None))
    assert facts(store, "action", "before", "after") == [
        ("override", "latest", "v7"),
        (action, "v7", target),
        ("target", target, None),
    ]


def test_each_change_of_the_registry_is_one_record_of_its_kind(
    store: Store, worker: Callable[[str], AuditTrail], tmp_path: Path
) -> None:
    registry = open_registry(tmp_path / "registry.json")
    by = By(actor="ann", reason="why")
    for version in ("v1", "v2", "v3"):
        registry.register("m", version, f"models/m/{version}", digest=f"sha256:{version}", by=by)
    worker("cli").add(
        AuditedDecision("import", "m", "cli:bob", after="v3", source=import_source(V3, "sha256:v3"))
    )
    registry.activate("m", "v1", by)
    moved = registry.activate("m", "v2", by).record
    assert moved is not None
    registry.undo("m", moved.number, by)
    registry.activate("m", "v2", by)
    registry.rollback("m", by)
    registry.archive("m", "v2", by)
    registry.reject("m", "v3", by)
    registry.set_alias("m", "canary", "v1", by)
    for run in ("one", "another"):
        assert RegistryAudit(registry, worker(run), tmp_path / run).write()
    recorded = facts(store, "action", "before", "after", "outcome")
    assert [fact for fact in recorded if fact[0] != "checkpoint"] == [
        ("import", None, "v3", "done"),
        ("import", None, "v1", "imported"),
        ("import", None, "v2", "imported"),
        ("promotion", None, "v1", "production"),
        ("promotion", "v1", "v2", "production"),
        ("rollback", "v2", "v1", "put back"),
        ("promotion", "v1", "v2", "production"),
        ("rollback", "v2", "v1", "production"),
        ("archive", None, "v2", "archived"),
        ("refusal", None, "v3", "rejected"),
        ("alias", None, "@canary v1", "done"),
    ]
    digests = [digests for action, digests in facts(store, "action", "digests") if action == "import"]
    assert digests == [{}, {"v1": "sha256:v1"}, {"v2": "sha256:v2"}]
