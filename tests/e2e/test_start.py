"""What the first answer after a start is, whatever happened before it."""

from __future__ import annotations

import socket

import pytest

from tests.e2e.harness import Service
from tests.e2e.reporting import Start
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]


def _first_answers(service: Service, **expected: str) -> None:
    """Start, and ask each model before anything else is done."""
    service.start()
    for model, version in expected.items():
        answer = service.predict(model=model)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == version


def test_a_pin_outlives_a_restart(make_service: Start, store: Store) -> None:
    for model in ("m", "other"):
        store.add("v1", 1, model)
        store.add("v2", 2, model)
    service = make_service(store.home)
    _first_answers(service, m="v2", other="v2")
    assert service.target(1, reason="v2 sees ghosts").status_code == 200
    before = service.model()
    assert service.stop() == 0
    _first_answers(service, m="v1", other="v2")
    after = service.model()
    assert {key: after[key] for key in ("target", "serving", "generation", "revision")} == {
        key: before[key] for key in ("target", "serving", "generation", "revision")
    }
    assert service.target("latest").status_code == 200
    assert service.version() == "v2"
    assert service.model()["generation"] == before["generation"] + 1


def test_a_port_that_is_taken_ends_the_start_with_one_line(make_service: Start, store: Store) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        service = make_service(store.home, port=port).launch()
        assert service.ended() == 1
    (line,) = [line for line in service.lines() if line.startswith("okawari: ")]
    where = f"HTTP cannot listen on 127.0.0.1:{port}"
    assert line == f"okawari: {where}: Address already in use; set PORT to another port"
    assert not any("Traceback" in line for line in service.lines())


def test_a_variable_that_is_no_setting_is_told_once_by_the_master(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home, WORKERS="2", OKAWARI_WORKERS="4")
    _first_answers(service, m="v1")
    (line,) = [line for line in service.lines() if "OKAWARI_WORKERS" in line]
    assert line.startswith("okawari: warning: ")
    assert line.endswith("use WORKERS")


def test_when_the_target_is_broken_what_served_last_answers(make_service: Start, store: Store) -> None:
    store.add("v1", 1)
    service = make_service(store.home)
    _first_answers(service, m="v1")
    service.destroy()
    folder = store.source("v2", 2)
    store.take(folder)
    weights = store.models / "m" / "v2" / "weights.onnx"
    weights.write_bytes(weights.read_bytes()[:100])
    _first_answers(service, m="v1")
    assert service.get("/readyz").status_code == 200
    assert "100 of" in service.states()["v2"]["reason"]
    assert service.model()["target"] == "latest"
    # As soon as its files are whole, it serves.
    weights.write_bytes((folder / "weights.onnx").read_bytes())
    service.serves("v2")
    assert service.version() == "v2"


def test_when_latest_names_nothing_what_served_last_answers(make_service: Start, store: Store) -> None:
    pointers = {"empty": "", "unknown": "v9", "two": "v2\nv1"}
    for model in pointers:
        store.add("v1", 1, model)
    service = make_service(store.home)
    _first_answers(service, **dict.fromkeys(pointers, "v1"))
    service.destroy()
    for model, pointer in pointers.items():
        store.add("v2", 2, model)
        store.point(pointer, model)
    _first_answers(service, **dict.fromkeys(pointers, "v1"))
    for model in pointers:
        assert "latest" in service.model(model)["reason"]
        store.point("v2", model)
        service.serves("v2", model)


def test_the_environment_seeds_the_targets_and_again_when_its_text_changes(
    make_service: Start, store: Store
) -> None:
    for version in (1, 2, 3):
        store.add(f"v{version}", version)
    seeded = make_service(store.home, OKAWARI_SERVE="m:v1")
    _first_answers(seeded, m="v1")
    assert seeded.target("v3").status_code == 200
    assert seeded.stop() == 0

    same = make_service(store.home, OKAWARI_SERVE="m:v1")
    _first_answers(same, m="v3")
    assert same.stop() == 0

    edited = make_service(store.home, OKAWARI_SERVE="m:2")
    _first_answers(edited, m="v2")
    assert edited.stop() == 0
