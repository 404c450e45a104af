"""Two homes: whose is what, and who may share them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store, snapshot
from tests.e2e.unprivileged import THROUGH, modes_count

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def test_a_home_has_one_service_and_a_store_may_have_several(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    first = make_service(tmp_path / "first", store.home).ready()
    for _ in range(3):
        first.predict(model="m")

    refused = make_service(tmp_path / "first", store.home).launch()
    assert refused.ended() != 0
    assert f"in use by the service with pid {first.master.pid}" in refused.tail()
    assert first.version() == "v1"

    second = make_service(tmp_path / "second", store.home).ready()
    assert second.version() == "v1"
    assert first.figure("inference_requests_total", model="m") == 4
    assert second.figure("inference_requests_total", model="m") == 1
    assert first.target("v1").status_code == 200
    assert second.model()["target"] == "latest"
    assert second.stop() == 0
    assert first.figure("inference_requests_total", model="m") == 4


def test_a_store_that_may_only_be_read_serves_and_gets_nothing_of_ours(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    if not modes_count(tmp_path):
        pytest.skip("this user cannot give up its power over modes of files")
    store.add("v1", 1)
    store.add("v2", 2)
    for name in ("bentos", "envs", "tmp"):
        (store.home / name).mkdir()
    before = snapshot(store.models)
    _close(store.models)
    try:
        service = make_service(tmp_path / "state", store.home, through=THROUGH).ready()
        assert service.version() == "v2"
        assert service.target("v1").status_code == 200
        assert service.version() == "v1"
        assert service.stop() == 0
    finally:
        _open(store.models)
    assert snapshot(store.models) == before
    ours = {"state", "run", "logs", "staging"}
    assert {path.name for path in store.home.iterdir()} & ours <= {"staging"}
    assert {path.name for path in (tmp_path / "state").iterdir()} >= ours - {"staging"}


def test_a_version_that_may_not_be_read_is_told_with_the_command_that_mends_it(
    make_service: Start, store: Store, tmp_path: Path
) -> None:
    if not modes_count(tmp_path):
        pytest.skip("this user cannot give up its power over modes of files")
    store.add("v1", 1)
    service = make_service(store.home, through=THROUGH).ready()
    store.add("v2", 2)
    service.serves("v2")
    store.add("v3", 3)
    service.serves("v3")
    closed = store.models / "m" / "v2"
    closed.chmod(0o000)
    try:
        answer = service.target("v2")
        found = service.states()["v2"]
    finally:
        closed.chmod(0o755)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "version_failed")
    assert f"chmod -R a+rX {closed}" in answer.json()["error"]["message"]
    assert f"chmod -R a+rX {closed}" in found["reason"]
    assert service.version() == "v3"
    assert service.target("v2").status_code == 200
    assert service.version() == "v2"


def _close(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            path.chmod(0o555)


def _open(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
