"""`models`, `status`, `families`, `schema`: what there is, with the service up and down."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.http.model_bodies import VersionBody
from cli.view import VersionView, views
from hotswap.desired import DesiredState, set_target
from hotswap.repository import ModelInfo, VersionInfo
from registry.file_store import DesiredFile
from tests.cli.conftest import Okawari, Service
from tests.models_import.shop import day, stock
from workers.run_folder import GenerationState, ModelState, WorkerState


class TestView:
    """The picture, as a table."""

    def one(
        self, sight: VersionInfo, *states: str | None, desired: DesiredState | None = None
    ) -> VersionView:
        """Version v1 of a model whose latest is v2, in workers that say `states` of it."""
        sights = {"code": ModelInfo("code", "v2", {"v1": sight, "v2": VersionInfo("v2")})}
        workers = [self.worker(number, state) for number, state in enumerate(states)]
        (model,) = views(sights, desired or DesiredState(), workers, bool(states))
        return model.versions[0]

    def worker(self, pid: int, state: str | None) -> WorkerState:
        live = [GenerationState(version="v1", state=state, reason="why")] if state else []
        serving = "v1" if state == "serving" else None
        return WorkerState(pid=pid, started=0, models={"code": ModelState(serving=serving, generations=live)})

    @pytest.mark.parametrize(
        ("reason", "states", "state", "note"),
        [
            (None, (), "available", "the target is latest (v2)"),
            ("broken", (), "unservable", "broken"),
            (None, (None,), "available", "the target is latest (v2)"),
            (None, ("serving",), "serving", "why"),
            (None, ("serving", "draining"), "serving", "in 1 of 2 workers; why"),
            (None, ("failed",), "failed", "why"),
            (None, ("loading", "failed"), "loading", "in 1 of 2 workers; why"),
            ("files gone", ("serving",), "serving", "files gone"),
            (None, ("closed",), "available", "the target is latest (v2)"),
        ],
    )
    def test_state_and_note(
        self, reason: str | None, states: tuple[str | None, ...], state: str, note: str
    ) -> None:
        view = self.one(VersionInfo("v1", reason=reason), *states)
        assert (view.state, view.note) == (state, note)

    def test_a_pinned_version_says_what_keeps_it(self) -> None:
        pinned = set_target("code", "v1", "test", None)(DesiredState())
        assert self.one(VersionInfo("v1"), desired=pinned).note == "the service is down"
        assert self.one(VersionInfo("v1"), None, desired=pinned).note == "about to be loaded"

    def test_a_version_that_is_not_in_memory_says_so(self) -> None:
        state = ModelState(away="v1")
        sights = {"code": ModelInfo("code", "v1", {"v1": VersionInfo("v1")})}
        workers = [WorkerState(pid=pid, started=0, models={"code": state}) for pid in (1, 2)]
        (model,) = views(sights, DesiredState(), workers, True)
        assert model.versions[0].note == "not in memory: it is loaded when it is asked for"

    def test_a_model_that_is_not_wanted_says_so(self) -> None:
        unwanted = DesiredState(required=("other",))
        sights = {"code": ModelInfo("code", "v1", {"v1": VersionInfo("v1")})}
        code, other = views(sights, unwanted, [], False)
        assert (code.target, code.versions[0].note) == (None, "the model is not selected by OKAWARI_SERVE")
        assert (other.name, other.reason, other.versions) == ("other", "not in the store", ())

    def test_a_model_that_is_declared_and_not_stored_is_missing(self) -> None:
        stored = {"code": ModelInfo("code", "v1", {"v1": VersionInfo("v1")})}
        absent, code = views(stored, DesiredState(), [], False, {"code", "absent"})
        assert (absent.name, absent.missing, absent.versions) == ("absent", True, ())
        assert (absent.reason or "").startswith("missing: ")
        assert (code.missing, code.reason) == (False, None)

    def test_a_version_whose_files_are_gone_serves_on(self) -> None:
        workers = [self.worker(1, "serving")]
        (model,) = views({}, DesiredState(), workers, True)
        assert (model.serving, model.versions[0].state) == ("v1", "serving")
        assert model.versions[0].note == "its files are gone"

    def test_workers_that_differ_serve_nothing_together(self) -> None:
        workers = [self.worker(1, "serving"), self.worker(2, "draining")]
        (model,) = views({}, DesiredState(), workers, True)
        assert model.serving is None


@pytest.fixture
def stocked(home: Path, tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        stock(home, tmp_path, "code", f"v{number}", number, created=day(number))
    (home / "models/code/v11").mkdir()
    return home


def table(text: str) -> list[list[str]]:
    return [line.split(maxsplit=6) for line in text.splitlines()]


class TestModels:
    def test_down(self, okawari: Okawari, stocked: Path) -> None:
        head, *rows = table(okawari("models").stdout)
        assert head == ["MODEL", "VERSION", "STATE", "DIGEST", "SIZE", "CREATED", "NOTE"]
        assert [row[:3] for row in rows] == [
            ["code", "v1", "available"],
            ["code", "v2", "available"],
            ["code", "v10", "available"],
            ["code", "v11", "unservable"],
        ]
        text = okawari("models").stdout
        assert "the target is latest (v10)" in text
        assert "the service is down" in text
        assert "`okawari remove code v11`" in text

    def test_up(self, okawari: Okawari, stocked: Path, service: Service) -> None:
        service.says("code", "v2", v10=("failed", "its outputs are NaN"))
        text = okawari("models").stdout
        assert [row[1:3] for row in table(text)[1:]] == [
            ["v1", "available"],
            ["v2", "serving"],
            ["v10", "failed"],
            ["v11", "unservable"],
        ]
        assert "its outputs are NaN" in text

    def test_every_line_is_whole_where_there_is_no_terminal(self, okawari: Okawari, stocked: Path) -> None:
        assert all(len(line.split()) > 3 for line in okawari("models").stdout.splitlines())
        assert "\x1b" not in okawari("models").stdout

    def test_a_pointer_that_names_nothing_is_said(self, okawari: Okawari, stocked: Path) -> None:
        (stocked / "models/code/latest").write_text("")
        assert "latest is empty" in okawari("models").stdout

    def test_json_has_the_shape_of_the_api(self, okawari: Okawari, stocked: Path, service: Service) -> None:
        service.says("code", "v2")
        document = json.loads(okawari("models", "--json").stdout)
        (model,) = document["models"]
        assert document["up"] is True
        assert (model["name"], model["target"], model["serving"]) == ("code", "latest", "v2")
        version = model["versions"][0]
        assert set(version) == {*VersionBody.model_fields}
        assert datetime.fromisoformat(version["created"]) == day(1).astimezone(UTC)

    def test_names_choose(self, okawari: Okawari, stocked: Path, tmp_path: Path) -> None:
        stock(stocked, tmp_path, "other", "v1")
        assert "code" not in okawari("models", "other").stdout
        assert okawari("models", "nope", exit_code=1).stderr == "okawari: there is no model nope\n"

    def test_a_home_without_store_says_how_to_begin(self, okawari: Okawari, home: Path) -> None:
        assert "okawari init" in okawari("models").stdout
        (home / "models").mkdir(parents=True)
        assert "is empty" in okawari("models").stdout


class TestStatus:
    def test_down(self, okawari: Okawari, stocked: Path) -> None:
        assert okawari("status").stdout.splitlines()[0] == "down"
        document: Any = json.loads(okawari("status", "--json").stdout)
        assert (document["up"], document["pid"], document["workers"]) == (False, None, [])

    def test_up(self, okawari: Okawari, stocked: Path, service: Service, desired: DesiredFile) -> None:
        service.says("code", "v2")
        lines = okawari("status").stdout.splitlines()
        assert lines[0].startswith("up, pid ")
        assert any("127.0.0.1:3000 ready: code:v2" in line for line in lines)
        document = json.loads(okawari("status", "--json").stdout)
        assert document["workers"][0]["serving"] == {"code": "v2"}
        assert document["models"]["code"]["serving"] == "v2"

    def test_the_addresses_are_those_that_clients_use(
        self, okawari: Okawari, stocked: Path, service: Service
    ) -> None:
        assert {"HTTP     -", "gRPC     -"} <= set(okawari("status").stdout.splitlines())
        service.write(grpc={"host": "127.0.0.1", "port": 50051})
        lines = okawari("status").stdout.splitlines()
        assert {"HTTP     http://127.0.0.1:3000", "gRPC     127.0.0.1:50051, plain text"} <= set(lines)

    def test_addresses_tell_of_tls_and_of_listening_everywhere(
        self, okawari: Okawari, stocked: Path, service: Service
    ) -> None:
        everywhere = ", and every other address of this machine"
        grpc = {"host": "::", "port": 50051, "tls": True, "client_certificates": True}
        service.write(host="::", tls=True, grpc=grpc)
        lines = okawari("status").stdout.splitlines()
        assert f"HTTP     https://[::1]:3000{everywhere}" in lines
        assert f"gRPC     [::1]:50051, TLS, client certificate required{everywhere}" in lines
        document = json.loads(okawari("status", "--json").stdout)
        assert document["http"] == {"url": "https://[::1]:3000", "everywhere": True}
        assert document["grpc"] == {
            "address": "[::1]:50051",
            "everywhere": True,
            "tls": True,
            "client_certificates": True,
        }
        assert document["workers"][0]["address"] == "[::]:3000"

    def test_a_pid_without_lock_is_down(self, okawari: Okawari, stocked: Path, service: Service) -> None:
        service.says("code", "v2")
        service.end()
        assert okawari("status").stdout.splitlines()[0] == "down"


def test_families(okawari: Okawari) -> None:
    lines = okawari("families").stdout.splitlines()
    assert {line.split()[0] for line in lines} >= {"classifier", "exposure", "fastestdet", "shapes"}


def test_schema_is_a_json_schema(okawari: Okawari) -> None:
    document = json.loads(okawari("schema").stdout)
    assert document["$schema"].startswith("https://json-schema.org/")
    assert "labels" in document["properties"]
