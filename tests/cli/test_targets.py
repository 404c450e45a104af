"""`pin`, `follow`, `reload`: the wish is written, and the command waits until it is so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.errors import Refused
from cli.swap_wait import SwapWatch
from hotswap.desired import set_target
from registry.file_store import DesiredFile
from tests.cli.conftest import Okawari, Service
from tests.models_import.shop import day, stock
from workers.run_folder import RunFolder


@pytest.fixture(autouse=True)
def _stocked(home: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        stock(home, tmp_path, "code", f"v{number}", number, created=day(number))


class TestDown:
    def test_pin_and_follow_write_the_wish(self, okawari: Okawari, desired: DesiredFile) -> None:
        done = okawari("pin", "code", "1", "--reason", "v2 misses the gate")
        assert done.stdout == "code is pinned to v1; the service is down and will serve it when it starts\n"
        wish = desired.read().models["code"]
        assert (wish.target, wish.reason) == ("v1", "v2 misses the gate")
        assert str(wish.actor).startswith("cli:")
        okawari("follow", "code", "latest")
        assert desired.read().models["code"].target == "latest"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("nope", "1"), "there is no model 'nope'"),
            (("code", "3"), "v3 of code; versions: v1, v2"),
            (("code", "latest"), "there is no version latest"),
            (("code", ""), "there is no version"),
        ],
    )
    def test_what_is_not_there_is_refused(
        self, okawari: Okawari, desired: DesiredFile, arguments: tuple[str, str], said: str
    ) -> None:
        assert said in okawari("pin", *arguments, exit_code=1).stderr
        assert desired.read().revision == 0

    def test_a_broken_version_is_refused_with_the_reason(
        self, okawari: Okawari, home: Path, desired: DesiredFile
    ) -> None:
        os.truncate(home / "models/code/v1/weights.onnx", 10)
        text = okawari("pin", "code", "1", exit_code=1).stderr
        assert "weights.onnx has 10 of 314 bytes" in text
        assert desired.read().revision == 0

    def test_following_a_dangling_latest_is_refused(self, okawari: Okawari, home: Path) -> None:
        (home / "models/code/latest").write_text("v9")
        assert "names v9, which does not exist" in okawari("follow", "code", "latest", exit_code=1).stderr

    def test_a_store_that_is_away_is_said(self, okawari: Okawari, home: Path) -> None:
        (home / "models").rename(home / "away")
        assert "cannot read the store" in okawari("pin", "code", "1", exit_code=1).stderr


class TestUp:
    def test_pin_waits_until_every_worker_serves_it(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        other = os.getppid()
        service.says("code", "v2")
        service.write(other)
        told = []

        def first_serves() -> None:
            told.append(desired.read().models["code"].target)
            service.seen = service.run.reload_asked()
            service.says("code", "v1")

        def other_serves() -> None:
            service.write(other)

        service.turns = [first_serves, other_serves]
        done = okawari("pin", "code", "1")
        assert done.stdout == "code is pinned to v1; v1 is serving\n"
        assert (told, service.turns) == (["v1"], [])

    def test_a_version_that_fails_is_refused_and_the_wish_put_back(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        desired.edit(set_target("code", "v2", "somebody", "before"))
        service.says("code", "v2")

        def fails() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v2", v1=("failed", "its outputs are NaN"))

        service.turns = [fails]
        text = okawari("pin", "code", "1", exit_code=1).stderr
        assert text == "okawari: code:v1 failed and the previous target was restored: its outputs are NaN\n"
        wish = desired.read().models["code"]
        assert (wish.target, wish.actor, wish.reason) == ("v2", "somebody", "before")

    def test_a_wish_changed_since_is_not_put_back(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        service.says("code", "v2")

        def fails() -> None:
            desired.edit(set_target("code", "latest", "somebody else", None))
            service.seen = service.run.reload_asked()
            service.says("code", "v2", v1=("failed", "no good"))

        service.turns = [fails]
        okawari("pin", "code", "1", exit_code=1)
        wish = desired.read().models["code"]
        assert (wish.target, wish.actor) == ("latest", "somebody else")

    def test_an_earlier_failure_is_not_taken_for_this_one(self, okawari: Okawari, service: Service) -> None:
        service.says("code", "v2", v1=("failed", "yesterday's reason"))

        def serves() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v1")

        service.turns = [lambda: None, serves]
        assert "v1 is serving" in okawari("pin", "code", "1").stdout

    def test_one_that_somebody_overtakes_is_told_at_once(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        service.says("code", "v2", v1=("loading", None))

        def overtakes() -> None:
            desired.edit(set_target("code", "latest", "bob", "not now"))

        service.turns = [overtakes]
        text = okawari("pin", "code", "1", "--timeout", "60", exit_code=1).stderr
        assert text == "okawari: code:v1 was superseded: since revision 2 bob wants code:latest (not now)\n"
        assert desired.read().models["code"].actor == "bob"

    def test_a_state_that_cannot_be_read_meanwhile_ends_no_waiting(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        service.says("code", "v2", v1=("loading", None))

        def serves() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v1")

        def is_damaged() -> None:
            desired.path.write_text("{")

        service.turns = [is_damaged, serves]
        assert "v1 is serving" in okawari("pin", "code", "1").stdout

    def test_too_long_is_an_error_and_the_wish_stands(
        self, okawari: Okawari, service: Service, desired: DesiredFile
    ) -> None:
        service.says("code", "v2", v1=("loading", None))
        text = okawari("pin", "code", "1", "--timeout", "0", exit_code=1).stderr
        assert "after 0 s code:v1 is not serving yet: it is loading; the change stays in effect" in text
        assert desired.read().models["code"].target == "v1"

    def test_a_service_that_ends_meanwhile_is_no_error(self, okawari: Okawari, service: Service) -> None:
        service.says("code", "v2")
        service.turns = [service.end]
        assert "the service stopped meanwhile" in okawari("pin", "code", "1").stdout

    def test_follow_waits_for_what_latest_means(self, okawari: Okawari, service: Service) -> None:
        service.says("code", "v1")

        def serves() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v2")

        service.turns = [serves]
        assert okawari("follow", "code", "latest").stdout == "code follows latest; v2 is serving\n"

    def test_a_service_whose_workers_still_start_is_waited_for(
        self, okawari: Okawari, service: Service
    ) -> None:
        def serves() -> None:
            service.seen = service.run.reload_asked()
            service.says("code", "v1")

        service.turns = [lambda: None, serves]
        assert "v1 is serving" in okawari("pin", "code", "1").stdout


class TestReload:
    def test_it_waits_for_every_worker(self, okawari: Okawari, service: Service) -> None:
        service.write()
        service.turns = [lambda: None, service.look]
        assert okawari("reload").stdout == "every worker has rescanned the store\n"
        assert service.turns == []

    def test_down_is_no_error(self, okawari: Okawari) -> None:
        done = okawari("reload")
        assert (done.stdout, "is down" in done.stderr) == ("", True)

    def test_a_worker_that_does_not_look_is_an_error(self, okawari: Okawari, service: Service) -> None:
        service.write()
        assert "after 0 s" in okawari("reload", "--timeout", "0", exit_code=1).stderr


def test_waiting_ends_at_its_deadline(home: Path, service: Service) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    service.says("code", "v2")
    watch = SwapWatch(RunFolder(home), 3.0, clock=lambda: now[0], sleep=sleep)
    with pytest.raises(Refused, match="after 3 s"):
        watch.until_serving("code", "v1")
    assert 3.0 <= now[0] < 3.2
