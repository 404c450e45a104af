"""The documentation that the service serves, held against its real routes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.predict_fields import NAMES
from tests.e2e.harness import ROOT, Service, environment
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

# In a process of its own: importing the service sets variables that other tests must not see.
_PRINT_ROUTES = """
import json
from starlette.routing import Route
from service import SERVICE

def routes(app):
    for each in app.routes:
        if isinstance(each, Route):
            yield each.path, sorted(each.methods - {"HEAD"})
        elif type(each).__name__ == "PassiveMount":
            yield from routes(each.app)
        elif hasattr(each, "original_router"):  # FastAPI's include_router
            yield from routes(each.original_router)

print(json.dumps(list(routes(SERVICE.to_asgi(is_main=True)))))
"""


@pytest.fixture(scope="module")
def document(api: Service) -> dict[str, Any]:
    answer = api.get("/docs.json")
    assert answer.status_code == 200
    return dict(answer.json())


def _table(tmp_path: Path) -> dict[str, set[str]]:
    """The methods of every path, BentoML's own included."""
    done = subprocess.run(
        [sys.executable, "-c", _PRINT_ROUTES],
        cwd=ROOT,
        env=environment(tmp_path, tmp_path) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    table: dict[str, set[str]] = {}
    for path, methods in json.loads(done.stdout.splitlines()[-1]):
        table.setdefault(path, set()).update(methods)
    return table


def test_every_route_is_documented_and_every_documented_route_exists(
    document: dict[str, Any], tmp_path: Path
) -> None:
    described = {
        path: {method.upper() for method in operations} for path, operations in document["paths"].items()
    }
    assert described == _table(tmp_path)


def test_it_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert set(document["info"]) >= {"title", "version"}
    names = [operation["operationId"] for _, operation in _operations(document)]
    assert len(names) == len(set(names))
    for path, operation in _operations(document):
        assert operation["responses"], path
        assert all(
            status.isdigit() and answer["description"] for status, answer in operation["responses"].items()
        )
        declared = {each["name"] for each in operation.get("parameters", []) if each["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path))
    for reference in _references(document):
        assert _found(document, reference), reference


def test_every_error_in_it_has_the_one_shape(document: dict[str, Any]) -> None:
    for path, operation in _operations(document):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and path != "/health":  # its document says what is wrong, in any status
                schema = answer["content"]["application/json"]["schema"]
                shape = "/ProtocolError" if path.startswith(("/v1", "/v2")) else "/ErrorBody"
                assert schema["$ref"].endswith(shape), (path, status)


def test_predict_is_described_with_its_three_bodies(document: dict[str, Any], api: Service) -> None:
    operation = document["paths"]["/predict"]["post"]
    bodies = operation["requestBody"]["content"]
    assert set(bodies) == {"multipart/form-data", "image/*", "application/octet-stream", "application/json"}
    assert {each["name"] for each in operation["parameters"]} == set(NAMES)
    answer = api.predict().json()
    schemas = document["components"]["schemas"]
    assert set(answer) == set(schemas["PredictBody"]["properties"]) - {"tensors", "detector", "result"}
    assert set(answer["timings_ms"]) == set(schemas["TimingsBody"]["properties"])
    assert set(answer["detections"][0]) == set(schemas["DetectionBody"]["properties"]) - {"phrase", "mask"}
    assert set(api.model()) == set(schemas["ModelBody"]["properties"])


def test_the_pages_are_served(api: Service) -> None:
    page = api.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "swagger" in page.text.lower()
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert api.get("/schema.json").json()["routes"][0]["route"] == "/predict"


def test_the_page_to_read_needs_nothing_from_elsewhere(api: Service) -> None:
    page = api.get("/redoc")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"""(src|href)=["'](https?:)?//""", page.text)
    (script,) = re.findall(r'src="\.(/[^"]+)"', page.text)
    assert api.get(script).headers["content-type"].startswith("text/javascript")
    assert len(api.get(script).content) > 100_000


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _found(document: Any, reference: str) -> bool:
    place = document
    for step in reference.removeprefix("#/").split("/"):
        if step not in place:
            return False
        place = place[step]
    return True
