"""`promote`, `rollback`, `archive`, `alias`, `history`, `registry`, `db`: the record, and what follows it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from registry.file_store import DesiredFile
from tests.cli.conftest import Okawari, Service
from tests.models_import.shop import day, stock


@pytest.fixture(autouse=True)
def _stocked(home: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        stock(home, tmp_path, "code", f"v{number}", number, created=day(number))


class TestDown:
    def test_production_is_promoted_and_rolled_back(self, okawari: Okawari, desired: DesiredFile) -> None:
        done = okawari("promote", "code", "1", "--yes")
        assert "code:v1 is production; code follows @production" in done.stdout
        assert desired.read().models["code"].target == "@production"
        shown = okawari("promote", "code", "v2", "--yes", "--reason", "better", "--expected-current", "1")
        assert "code: v1 -> v2" in shown.stderr
        assert "code:v1 is production" in okawari("rollback", "code", "--yes").stdout
        history = json.loads(okawari("history", "code", "--json").stdout)["history"]
        actions = [(one["action"], one.get("after"), one.get("reason")) for one in history]
        moved = [one for one in actions if one[0] in ("activate", "rollback")]
        assert moved == [("rollback", 1, None), ("activate", 2, "better"), ("activate", 1, None)]
        assert "better" in okawari("history", "code").stdout
        assert okawari("audit", "--verify").exit_code == 0
        recorded = json.loads(okawari("audit", "--json").stdout)["records"]
        assert [one["action"] for one in recorded].count("promotion") == 2

    def test_what_cannot_be_done_changes_nothing(self, okawari: Okawari, home: Path) -> None:
        okawari("promote", "code", "1", "--yes")
        for arguments, said in (
            (("promote", "code", "2", "--yes", "--expected-current", "v7"), "v7"),
            (("promote", "code", "3", "--yes"), "not registered"),
            (("promote", "code", "2"), "--yes"),
            (("rollback", "code", "--yes"), "no version of code was production before"),
            (("archive", "code", "1", "--yes"), "production"),
            (("history", "other"), "not registered"),
            (("who-served", "code", "--at", "noon"), "ISO 8601"),
            (("who-served", "code", "--at", "2026-01-01"), "nothing is recorded"),
            (("follow", "code", "@none"), "none"),
            (("db", "check", "--only", "registry"), "OKAWARI_REGISTRY"),
        ):
            assert said in okawari(*arguments, exit_code=1).stderr
        shutil.rmtree(home / "models" / "code" / "v2")
        assert "cannot be served" in okawari("promote", "code", "2", "--yes", exit_code=1).stderr
        listed = okawari("registry", "list", "--status", "production", "--json")
        (entry,) = json.loads(listed.stdout)["models"]
        assert (entry["version"], entry["status"]) == (1, "production")

    def test_a_pinned_model_stays_pinned(self, okawari: Okawari, desired: DesiredFile) -> None:
        okawari("pin", "code", "2")
        assert "code follows v2" in okawari("promote", "code", "1", "--yes").stdout
        assert desired.read().models["code"].target == "v2"

    def test_aliases_and_archives(self, okawari: Okawari, desired: DesiredFile) -> None:
        assert "canary means v2" in okawari("alias", "code", "canary", "2", "--yes").stdout
        okawari("follow", "code", "@canary")
        assert desired.read().models["code"].target == "@canary"
        assert "canary" in okawari("registry", "list", "code").stdout
        okawari("alias", "code", "canary", "--delete", "--yes")
        assert okawari("alias", "code", "canary", exit_code=2).exit_code == 2
        assert "archived" in okawari("archive", "code", "2", "--yes").stdout
        okawari("registry", "list", "--status", "staging")

    @pytest.mark.slow
    def test_a_registry_in_a_database(
        self, okawari: Okawari, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OKAWARI_REGISTRY", f"sqlite:///{tmp_path}/registry.db")
        assert "okawari db upgrade" in okawari("db", "check", exit_code=1).stderr
        assert "revision" in okawari("db", "upgrade").stdout
        okawari("db", "check")
        okawari("promote", "code", "1", "--yes")
        assert "v1" in okawari("registry", "list").stdout
        assert "base" in okawari("db", "downgrade", "base").stdout

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("mysql://u:geheim@h/x", "mysql"),
            ("postgresql://u:geheim@h:port/x", "cannot be read"),
            ("postgresql://u:geheim@127.0.0.1:9/x", "127.0.0.1"),
            ("postgresql://u:ge%40heim@127.0.0.1:9/x?sslmode=geheimnis", "sslmode"),
        ],
    )
    @pytest.mark.parametrize("words", [("db", "check"), ("db", "upgrade"), ("registry", "list"), ("audit",)])
    def test_a_database_that_cannot_be_used_is_said_without_its_password(
        self, okawari: Okawari, monkeypatch: pytest.MonkeyPatch, url: str, shown: str, words: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("OKAWARI_REGISTRY", url)
        output = okawari(*words, exit_code=1).output
        assert shown in output
        assert not any(secret in output for secret in ("geheim", "heim@", "ge@", "nis"))

    def test_a_file_from_before_the_store_is_adopted(self, okawari: Okawari, tmp_path: Path) -> None:
        entry = {
            "model_name": "code",
            "version": 1,
            "path": "models/code/v1/model.onnx",
            "status": "production",
            "creation_timestamp": "2025-01-01T00:00:00Z",
            "aliases": ["stable"],
        }
        lost = {
            **entry,
            "version": 9,
            "path": "models/code/v9/model.onnx",
            "status": "staging",
            "aliases": [],
        }
        file = tmp_path / "models" / "registry.json"
        file.parent.mkdir()
        file.write_text(json.dumps({"models": [entry, lost]}))
        adopted = okawari("registry", "adopt", file, exit_code=1)
        assert "code:v1: in the store, production" in adopted.stdout
        assert "code:v9: not adopted: there is nothing at" in adopted.stderr
        (found,) = json.loads(okawari("registry", "list", "--alias", "stable", "--json").stdout)["models"]
        assert (found["version"], found["status"]) == (1, "production")


class TestUp:
    def test_a_version_that_fails_is_put_back_everywhere(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        service.says("code", "v2")

        def fails() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v2", v1=("failed", "NaN"))

        service.turns = [fails]
        refused = okawari("promote", "code", "1", "--yes", exit_code=1)
        assert "production of code is as before" in refused.stderr
        assert desired.read().models["code"].target == "latest"
        assert (
            json.loads(okawari("registry", "list", "--status", "production", "--json").stdout)["models"] == []
        )
