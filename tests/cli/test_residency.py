"""`load`, `unload`, `warmup` against the real service, which wants a token and has a prefix."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Okawari
from tests.e2e.harness import Service as Running
from tests.e2e.reporting import services
from tests.e2e.sizes import LIMIT
from tests.e2e.stores import Store

TOKEN = "sécret"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("residency")
    store = Store(folder / "home", folder)
    store.add("v1", 1)
    store.add("v2", 2)
    with contextmanager(services)() as make:
        yield make(store.home, OKAWARI_ADMIN_TOKEN=TOKEN, OKAWARI_ROOT_PATH="/mora").ready()


@pytest.fixture
def home_of(running: Running, home: Path, monkeypatch: pytest.MonkeyPatch) -> Running:
    """The command line at the home of the service, with its token."""
    monkeypatch.setenv("BENTOML_HOME", str(running.home))
    monkeypatch.setenv("OKAWARI_ADMIN_TOKEN", TOKEN)
    return running


@pytest.mark.e2e
@pytest.mark.timeout(LIMIT)
class TestUp:
    def test_a_model_is_unloaded_loaded_and_warmed_up(self, home_of: Running, okawari: Okawari) -> None:
        assert okawari("unload", "m").stdout == "m is unloaded; `okawari load m` loads it again\n"
        assert home_of.predict(model="m").status_code == 409
        assert "not loaded" in okawari("warmup", "m", exit_code=1).stderr
        assert okawari("load", "m").stdout == "m: v2 is serving\n"
        assert home_of.version() == "v2"
        assert okawari("warmup", "m", "--samples", 3).stdout.startswith("m:v2: 3 samples in ")

    def test_answers_are_shown_as_json_and_a_url_may_have_a_prefix(
        self, home_of: Running, okawari: Okawari
    ) -> None:
        url = f"{home_of.url}/mora"
        report = json.loads(okawari("warmup", "m", "--url", url, "--json").stdout)
        assert (report["version"], report["samples"], len(report["latencies_ms"])) == ("v2", 10, 10)
        assert json.loads(okawari("load", "m", "--json").stdout)["loaded"] is True

    def test_what_is_refused_is_one_line(
        self, home_of: Running, okawari: Okawari, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for command in ("load", "unload", "warmup"):
            said = okawari(command, "no/body", exit_code=1).stderr
            assert said.startswith("okawari: there is no ")
            assert said.count("\n") == 1
        monkeypatch.setenv("OKAWARI_ADMIN_TOKEN", "wrong")
        for command in ("load", "unload", "warmup"):
            assert "set OKAWARI_ADMIN_TOKEN" in okawari(command, "m", exit_code=1).stderr
        assert home_of.version() == "v2"
        assert "is not in the range 1<=x<=1000" in okawari("warmup", "m", "--samples", 0, exit_code=2).stderr


def test_without_a_service_nothing_is_done(okawari: Okawari) -> None:
    for command in ("load", "unload", "warmup"):
        assert "is down: start it" in okawari(command, "m", exit_code=1).stderr


def test_each_command_shows_examples(okawari: Okawari) -> None:
    for command in ("load", "unload", "warmup"):
        text = okawari(command, "--help").stdout
        assert f"okawari {command} detector" in text
        assert "\x1b" not in text
