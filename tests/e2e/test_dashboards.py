"""A real Prometheus reads a real service by the project's own files: each panel and rule shows something."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from api.protos import predictor_pb2 as messages
from api.protos.predictor_pb2_grpc import PredictorStub
from scripts.dashboards.__main__ import DASHBOARDS
from tests.api.conftest import DEVICES
from tests.api.test_detect import hand_in
from tests.deploy.test_alert_rules import rules
from tests.deploy.test_runbooks import PAGES, promql
from tests.e2e.harness import Service
from tests.e2e.pictures import picture
from tests.e2e.reporting import services
from tests.e2e.rpc_load import channel
from tests.e2e.sizes import LIMIT, SOON
from tests.e2e.stores import Store
from tests.e2e.waiting import until
from tests.support.prometheus import FOLDER, PrometheusServer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

#: Panels that show nothing here, with the reason.
EMPTY = {
    "Memory of GPUs": "there is no GPU",
    "Versions taken back": "none turns bad here; test_guard looks at its metric",
    "Opened graphs": "a compile takes seconds; test_compiled looks at its metric",
    "Sent events": "there is no Kafka; tests of streaming look at its metric",
    "Lost events": "the same",
}
#: What fires at once when no alert waits: of the models that are bad, too large, or want a GPU.
EXPECTED = {
    "OkawariDeviceFallback",
    "OkawariLoadFailing",
    "OkawariMemoryRefusals",
    "OkawariModelErrors",
    "OkawariModelNotReady",
}
#: What a busy or a full machine may bring.
MACHINE = {"OkawariMemoryShort", "OkawariSlow", "OkawariStorageWarning", "OkawariSwapPauseLong"}
#: By these declarations only one of `a` and `b` fits beside the worker, and `large` never does.
MODELS = """
models:
- {name: m}
- {name: bad}
- {name: moved, config: {device: "cuda:0"}}
- {name: a, resources: {memory_mb: 200}}
- {name: b, resources: {memory_mb: 200}}
- {name: large, resources: {memory_mb: 1000}}
"""
SETTINGS = {"OKAWARI_MEMORY_BUDGET": "450MB", "OKAWARI_DEFAULT_MODEL": "m", "WORKERS": "1"}


def _fill(store: Store) -> None:
    store.add("v1", 1)
    store.add("v2", 2)
    store.add("v1", 3, "bad", best=math.nan)
    for code, name in enumerate(("moved", "a", "b", "large"), start=4):
        store.add("v1", code, name)


def _faster(folder: Path, target: str) -> Path:
    """The project's configuration, which looks every second, at one service, with alerts that hardly wait."""
    text = (FOLDER / "prometheus.yml").read_text()
    assert text.count(" 15s") == 2
    (folder / "rules").mkdir(parents=True)
    for path in (FOLDER / "rules").glob("*.yml"):
        quick = re.sub(r"\bfor: \d+m", "for: 3s", path.read_text())
        (folder / "rules" / path.name).write_text(quick)
    local = (FOLDER / "targets.yml").read_text()
    assert local.count("127.0.0.1:3000") == 1
    (folder / "targets.yml").write_text(local.replace("127.0.0.1:3000", target))
    file = folder / "prometheus.yml"
    file.write_text(text.replace(" 15s", " 1s"))
    return file


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service."""
    folder = tmp_path_factory.mktemp("monitored")
    store = Store(folder / "home", folder)
    _fill(store)
    (folder / "ModelRegistry.yaml").write_text(MODELS)
    declared = {"OKAWARI_MODEL_REGISTRY": str(folder / "ModelRegistry.yaml")}
    tokens = {f"{name.upper().replace('-', '_')}_TOKEN": token for name, token in DEVICES.items()}
    with contextmanager(services)() as make:
        yield make(store.home, **SETTINGS, **declared, **tokens).ready()


@pytest.fixture(scope="module")
def prometheus(served: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that reads it."""
    folder = tmp_path_factory.mktemp("prometheus")
    server = PrometheusServer(_faster(folder, f"127.0.0.1:{served.port}"), folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _use(service: Service, round_number: int) -> None:
    """A little of everything; few requests fail beside those that are answered."""
    assert {service.predict().status_code for _ in range(100)} == {200}
    assert service.target("v1" if round_number % 2 else "v2").status_code == 200
    assert service.predict(model="bad").status_code == 503
    assert service.predict(model="large").status_code == 507
    assert hand_in(service).status_code == 200
    assert service.client.post("/infer_json", json={"bucket": "none", "key": "a.jpg"}).status_code == 403
    if round_number < 4:  # more would be thrashing
        assert {service.predict(model=name).status_code for name in "ab"} == {200}
    with channel(service) as one:
        stub: Any = PredictorStub(one)
        asked = messages.PredictRequest(image=picture(), model="m")
        assert stub.Predict(asked, timeout=SOON).model_version
        assert [reply.answer.model for reply in stub.PredictStream(iter([asked]), timeout=SOON)] == ["m"]


def _shows(prometheus: PrometheusServer, expression: str) -> bool:
    """Whether an expression gives a number, with the choices of a dashboard's head at their beginning."""
    filled = expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$model", ".*")
    assert "$" not in filled
    return any(math.isfinite(float(series["value"][1])) for series in prometheus.query(filled))


def _expressions() -> dict[str, str]:
    """All that should show something, by a name that a failure can tell."""
    panels = {
        f"{board.title}: {panel.title}: {legend}": expression
        for board in DASHBOARDS
        for row in board.rows
        for panel in row.panels
        if panel.title not in EMPTY
        for legend, expression in panel.queries.items()
    }
    marks = {
        f"{board.title}: {mark.name}": mark.expression for board in DASHBOARDS for mark in board.annotations
    }
    return panels | marks | {name: f'{name}{{job="okawari"}}' for name in rules("record")}


def _scrapes(prometheus: PrometheusServer) -> float:
    (series,) = prometheus.query('sum(count_over_time(up{job="okawari"}[1h])) or vector(0)')
    return float(series["value"][1])


def _read_again(prometheus: PrometheusServer) -> None:
    """Wait until the service has been scraped after what was done."""
    before = _scrapes(prometheus)
    until(lambda: _scrapes(prometheus) > before + 1, "the service is scraped")


def test_every_panel_and_every_recorded_figure_shows_something(
    served: Service, prometheus: PrometheusServer
) -> None:
    missing = _expressions()
    assert len(missing) > 50
    for number in range(20):
        if not missing:
            break
        _use(served, number)
        _read_again(prometheus)
        missing = {name: each for name, each in missing.items() if not _shows(prometheus, each)}
    assert missing == {}


def test_what_the_pages_of_alerts_ask_is_understood(prometheus: PrometheusServer) -> None:
    asked = [expression for page in PAGES for expression in promql(page)]
    assert len(asked) >= len(PAGES)
    for expression in asked:
        prometheus.query(expression)


def test_those_alerts_fire_that_should_and_no_other(served: Service, prometheus: PrometheusServer) -> None:
    until(lambda: prometheus.alerts().keys() >= EXPECTED, f"{EXPECTED} fire")
    fired = prometheus.alerts()
    assert fired.keys() - MACHINE == EXPECTED, {name: fired[name] for name in fired.keys() - EXPECTED}
    assert {alert["labels"]["model"] for alert in fired["OkawariLoadFailing"]} == {"bad"}
    assert {alert["labels"]["model"] for alert in fired["OkawariMemoryRefusals"]} == {"large"}


def test_a_service_that_ends_is_told(served: Service, prometheus: PrometheusServer) -> None:
    assert served.stop() == 0
    gone = {"OkawariDown", "OkawariAbsent"}
    until(lambda: prometheus.alerts().keys() >= gone, f"{gone} fire")
