"""Each decision of a service with several workers is recorded once, and the record verifies."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from registry.audit import Record
from registry.audit_file import AuditFile
from tests.e2e.harness import BIN, Service, environment
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

SWAPS = 20


def records(home: Path, action: str) -> list[Record]:
    """The records of one kind of decision."""
    entries = AuditFile(home / "state").read()
    return [entry for entry in entries if isinstance(entry, Record) and entry.action == action]


def verify(service: Service) -> subprocess.CompletedProcess[str]:
    """What the command says of the log."""
    command = [str(BIN / "okawari"), "audit", "--verify", "--json"]
    return subprocess.run(
        command, env=environment(service.store, service.home), capture_output=True, text=True, check=False
    )


def test_so_many_swaps_are_so_many_records_also_when_workers_and_service_are_killed(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    service = make_service(store.home, WORKERS="2").ready()
    until(lambda: len(records(store.home, "switch")) == 1, "the start is recorded")
    targets = list(itertools.islice(itertools.cycle(["v1", "v2"]), SWAPS))
    for number, target in enumerate(targets):
        if number == SWAPS // 2:
            os.kill(service.workers()[0].pid, signal.SIGKILL)
            service.hang_up()
            until(lambda: len(service.workers()) == 2, "the lost worker is replaced")
        assert service.target(target, reason=f"swap {number}").status_code in (200, 202)
        service.serves(target)

    until(lambda: len(records(store.home, "switch")) == 1 + SWAPS, "each swap is recorded")
    switches = records(store.home, "switch")
    assert [record.after for record in switches] == ["v2", *targets]
    assert [record.reason for record in switches[1:]] == [f"swap {number}" for number in range(SWAPS)]
    assert all(record.digests[record.after or ""].startswith("sha256:") for record in switches)
    assert [record.after for record in records(store.home, "target")] == targets
    service.signal(signal.SIGKILL)
    service.ended()
    until(service.gone, "all workers have ended")
    again = make_service(store.home, WORKERS="2").ready()
    until(lambda: len(records(store.home, "switch")) == 2 + SWAPS, "the next run's start is recorded")
    done = verify(again)
    assert (done.returncode, json.loads(done.stdout)["whole"]) == (0, True), done.stdout


def test_a_version_that_fails_is_recorded_once_and_the_target_that_was_put_back(
    make_service: Start, store: Store
) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2").ready()
    store.add("v2", 2, best=float("nan"))
    until(lambda: records(store.home, "refusal"), "the refusal is recorded")
    refused = service.target("v2", reason="try it")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "version_failed")

    until(lambda: len(records(store.home, "target")) == 2, "the target that was put back is recorded")
    (refusal,) = records(store.home, "refusal")
    assert (refusal.model, refusal.after, refusal.outcome) == ("m", "v2", "refused")
    targets = records(store.home, "target")
    changes = [(record.before, record.after, record.outcome, record.reason) for record in targets]
    assert changes == [("latest", "v2", "done", "try it"), ("v2", "latest", "put back", None)]
    assert verify(service).returncode == 0
