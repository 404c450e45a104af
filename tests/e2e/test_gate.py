"""The gate, in all workers: a bad version is refused with its reason while the one before it serves on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.harness import Service
from tests.e2e.load import Load
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store
from tests.e2e.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def refusal(service: Service, version: str) -> str:
    """Why a version has failed; empty where it has not."""
    state = service.states().get(version, {})
    return str(state["reason"]) if state.get("state") == "failed" else ""


def test_a_version_proves_itself_on_golden_pictures_before_it_answers(
    make_service: Callable[..., Service], store: Store, tmp_path: Path
) -> None:
    store.add("v1", 1)
    for number in range(2):
        (tmp_path / f"{number}.jpg").write_bytes(picture(colour=(number * 90, 120, 60)))
    pictures = [tmp_path / f"{number}.jpg" for number in range(2)]
    assert "1 findings are expected" in store.okawari("golden", "record", "m", "v1", *pictures)
    service = make_service(store.home, WORKERS="2").ready()
    with Load(service) as load:
        permuted = store.add("v2", 2, config={"labels": ["other", "code"]})
        contract = "check contract: not as m:v1: label 0: 'other', was 'code'"
        until(lambda: contract in refusal(service, "v2"), "v2 is refused")
        assert service.version() == "v1"

        told = store.okawari("gate", "m", "v2", code=1)
        assert "contract: fail" in told
        store.okawari("gate", "m", "v2", "--allow", "contract")
        until(lambda: "golden pictures" in refusal(service, "v2"), "the pictures are asked, too")
        verdict = json.loads(store.okawari("gate", "m", "v2", "--json", code=1))
        assert verdict["digest"] == permuted.digest
        assert verdict["verdicts"]["golden pictures"]["numbers"]["found"] == 0
        assert verdict["compared"] == "m:v1"

        store.add("v3", 3)
        service.serves("v3")
        assert "v3: pass beside m:v1" in store.okawari("gate", "m", "v3")
        assert service.target("v1").status_code == 200  # it has answered before: nothing is asked of it
        service.serves("v1")
    assert [shot for shot in load.shots if shot.status != 200 or shot.contradicts] == []
    assert {shot.claimed for shot in load.shots} == {"v1", "v3"}
