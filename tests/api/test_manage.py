"""Load, unload, warm-up and the facts of a model over HTTP, in this process over a world of fakes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from api.access.guard import AccessGuard
from api.auth import AdminAuth
from hotswap.control import Control
from hotswap.errors import ModelFailed
from hotswap.repository import VersionInfo
from hotswap.status import StateView
from manifest.profiles import ModelProfile
from manifest.tags import ModelTag
from manifest.version_manifest import Measured
from residency.planner import Residence
from tests.api.shape import refused
from tests.api.test_routes import Wire, _served
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact

_MB = 1_000_000


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    with _served(tmp_path) as served:
        yield served


@pytest.mark.slow
def test_a_model_is_unloaded_and_loaded_again(wire: Wire) -> None:
    gone = wire("DELETE", "/models/m")
    assert (gone.status_code, gone.json()["serving"], gone.json()["target"]) == (200, None, "latest")
    assert "unloaded" in gone.json()["reason"]
    assert wire("DELETE", "/models/m").status_code == 200
    back = wire("POST", "/models/m/load")
    assert (back.status_code, back.json()["serving"], back.json()["target"]) == (200, "v2", "latest")
    assert wire("POST", "/models/m/load").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/models/n/load"), ("DELETE", "/models/n"), ("POST", "/models/n/warmup")]
)
def test_a_model_that_is_not_there(wire: Wire, method: str, path: str) -> None:
    refused(wire(method, path), 404, "model_not_found")


def test_what_takes_longer_is_accepted(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*_: object) -> bool:
        return False

    for method, path, call in (("POST", "/models/m/load", "load"), ("DELETE", "/models/m", "unload")):
        monkeypatch.setattr(Control, call, slow)
        answer = wire(method, path)
        assert (answer.status_code, answer.headers["location"]) == (202, "/models/m")
        assert answer.json()["name"] == "m"


def test_management_needs_the_token(tmp_path: Path) -> None:
    with _served(tmp_path, auth=AccessGuard(AdminAuth("secret", exposed=True))) as wire:
        for method, path in (
            ("POST", "/models/m/load"),
            ("DELETE", "/models/m"),
            ("POST", "/models/m/warmup"),
        ):
            refused(wire(method, path), 401, "unauthorized")
            refused(wire(method, path, headers={"authorization": "Bearer x"}), 403, "forbidden")
            assert wire(method, path, headers={"authorization": "Bearer secret"}).status_code in (200, 409)


def test_a_warm_up_tells_what_was_run(wire: Wire) -> None:
    answer = wire("POST", "/models/m/warmup?samples=3")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert list(body) == ["model", "version", "samples", "warmup_time_ms", "latencies_ms"]
    assert (body["model"], body["version"], body["samples"], len(body["latencies_ms"])) == ("m", "v2", 3, 3)
    assert body["warmup_time_ms"] >= max(body["latencies_ms"]) > 0
    assert wire("POST", "/models/m/warmup").json()["samples"] == 10


@pytest.mark.parametrize("samples", ["0", "1001", "-1", "x", "", "1.5"])
def test_the_number_of_samples_is_bounded(wire: Wire, samples: str) -> None:
    message = refused(wire("POST", f"/models/m/warmup?samples={samples}"), 400, "invalid_argument")
    assert "samples" in message


def test_a_warm_up_of_what_does_not_serve(wire: Wire) -> None:
    assert wire("DELETE", "/models/m").status_code == 200
    refused(wire("POST", "/models/m/warmup"), 409, "version_not_loaded")


def test_a_warm_up_that_the_model_fails(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModelFailed("NaN")

    monkeypatch.setattr(FakeRunner, "predict", fail)
    refused(wire("POST", "/models/m/warmup"), 500, "model_failed")


def test_models_are_listed_plainly(wire: Wire) -> None:
    whole = wire("GET", "/models").json()
    assert wire("GET", "/models?format=list").json() == whole["models"]
    for wrong in ("table", "", "LIST"):
        assert "format" in refused(wire("GET", f"/models?format={wrong}"), 400, "invalid_argument")


def test_a_model_says_what_it_is_and_whether_it_is_loaded(wire: Wire) -> None:
    told = wire("GET", "/models/m").json()
    assert (told["type"], told["provider"]) == ("detection", "FakeProvider")
    assert told["resources"] == {"memory_mb": None, "gpu_required": False, "cpu_threads": 1}
    assert (told["loaded"], told["memory_mb"], told["last_used"], told["evictable"]) == (
        True,
        0.0,
        None,
        False,
    )
    assert told["residency_reason"] is None
    assert wire("DELETE", "/models/m").status_code == 200
    gone = wire("GET", "/models/m").json()
    assert gone["serving"] is None
    assert gone["type"] is None, "the fakes' store tells no config"


def test_residence_is_shown(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    used = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    away = Residence(False, 0, used.timestamp(), evictable=False, reason="evicted for n: least recently used")
    monkeypatch.setattr(StateView, "residence", lambda *_: away)
    told = wire("GET", "/models/m").json()
    assert (told["loaded"], told["last_used"]) == (False, "2026-01-02T03:04:05Z")
    assert told["residency_reason"] == "evicted for n: least recently used"
    here = Residence(True, 310 * _MB, used.timestamp(), evictable=True)
    monkeypatch.setattr(StateView, "residence", lambda *_: here)
    told = wire("GET", "/models/m").json()
    assert (told["loaded"], told["memory_mb"], told["evictable"]) == (True, 310.0, True)


@pytest.mark.parametrize(
    ("measured", "memory"), [(None, 512.0), (0, 512.0), (300 * _MB, 300.0)], ids=["unknown", "zero", "known"]
)
def test_what_is_declared_lies_over_the_config_and_below_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measured: int | None, memory: float
) -> None:
    config = artifact(ModelTag("m", "v2")).config
    threads = config.model_copy(update={"resources": config.resources.model_copy(update={"threads": 8})})
    cost = Measured(load_seconds=1, peak_bytes=9, resident_bytes=measured or 0, onnxruntime="1")
    version = VersionInfo("v2", config=threads, measured=None if measured is None else cost)
    monkeypatch.setattr(StateView, "meant", lambda *_: version)
    profile = ModelProfile("m", "embedding", "ClipProvider", 512 * _MB, gpu_required=True, cpu_threads=2)
    declared: Mapping[str, ModelProfile] = {"m": profile, "absent": ModelProfile("absent", type="detection")}
    with _served(tmp_path) as wire:
        wire.parts.view.profiles = lambda: declared
        absent, told = wire("GET", "/models").json()["models"]
        assert (told["type"], told["provider"]) == ("embedding", "ClipProvider")
        assert told["resources"] == {"memory_mb": memory, "gpu_required": True, "cpu_threads": 2}
        assert (absent["name"], absent["type"], absent["versions"]) == ("absent", "detection", [])
        assert (absent["missing"], told["missing"]) == (True, False)
        assert wire("GET", "/models/absent").status_code == 200
        refused(wire("GET", "/models/other"), 404, "model_not_found")
