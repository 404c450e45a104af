"""The edge client delivers every picture once, whatever the server and the line do meanwhile."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest

from tests.edge.conftest import Site
from tests.support.scripted_server import BATCH, DETECT, Late, Reset, ScriptedServer, Status, key_of

MOMENT = "2027-01-15T08:00:00.500000Z"


def _empty(site: Site) -> bool:
    return site.names("pictures") == site.names("spool") == []


def test_a_picture_is_delivered_with_device_time_key_and_token(site: Site, server: ScriptedServer) -> None:
    site.configure(metadata={"site": "north"})
    site.picture("a.jpg", b"picture a")
    site.run()
    (kept,) = server.kept
    assert (kept.content, kept.device_id, kept.filename) == (b"picture a", "cam-1", "a.jpg")
    assert kept.captured_at == MOMENT
    assert kept.key == key_of(b"picture a", MOMENT)
    ((path, headers, status),) = server.requests
    assert (path, headers["x-api-token"], status) == (DETECT, "right", 200)
    assert datetime.now(UTC) - parsedate_to_datetime(headers["date"]) < timedelta(minutes=1)
    assert _empty(site)


def test_several_go_in_batches_and_the_newest_goes_first_and_alone(
    site: Site, server: ScriptedServer
) -> None:
    site.configure(batch_size=4)
    for number in range(10):
        site.picture(f"{number}.png", b"picture %d" % number, at=1_800_000_000 + number)
    site.run()
    assert [each.filename for each in server.kept[:1]] == ["9.png"]
    assert [path for path, _, _ in server.requests] == [DETECT, BATCH, BATCH, DETECT]
    assert [each.filename for each in server.kept[1:]] == [f"{number}.png" for number in range(9)]
    assert all(each.captured_at.endswith(f"00:0{each.filename[0]}.000000Z") for each in server.kept)
    assert _empty(site)


def test_what_a_batch_fails_is_sent_singly_and_what_is_refused_is_put_aside_with_the_reason(
    site: Site, server: ScriptedServer
) -> None:
    contents = [b"good", b"bad picture", b"odd picture", b"newest"]
    for number, content in enumerate(contents):
        site.picture(f"{number}.jpg", content, at=1_800_000_000 + number)
    site.run()
    assert server.contents == sorted(set(contents) - {b"bad picture"})
    assert [path for path, _, _ in server.requests] == [DETECT, BATCH, DETECT, DETECT]
    assert _empty(site)
    (name,) = site.names("refused")
    folder = site.folder / "refused" / name
    assert (folder / "1.jpg").read_bytes() == b"bad picture"
    assert (folder / "reason.txt").read_text().startswith("400 ")
    assert len((folder / "reason.txt").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_refused_picture_may_be_tried_again(site: Site, server: ScriptedServer) -> None:
    for _ in range(2):
        site.picture("a.jpg", b"bad")
        site.run()
    assert len(site.names("refused")) == 1
    site.picture("a.jpg", b"good now")
    site.run()
    assert server.contents == [b"good now"]


@pytest.mark.slow
def test_pictures_of_one_name_in_a_batch_are_told_apart(site: Site, server: ScriptedServer) -> None:
    server.script.extend([Status(503)] * 3)
    contents = [b"one", b"odd two", b"three"]
    for number, content in enumerate(contents):
        site.picture("image.jpg", content, at=1_800_000_000 + number)
        with pytest.raises(_Enough):
            _run_until_it_waits(site)
    site.run()
    assert server.contents == sorted(contents)
    batch = [each for each in server.kept if each.route == BATCH]
    assert len({each.filename for each in batch}) == len(batch)
    assert _empty(site)


class _Enough(Exception):
    """The test has seen what it wants to see."""


def _run_until_it_waits(site: Site) -> None:
    class Stop(list[float]):
        def append(self, seconds: float) -> None:
            raise _Enough

    site.waited = Stop()
    try:
        site.run()
    finally:
        site.waited = []


@pytest.mark.parametrize("code", [429, 503, 500, 502, 504, 408, 301])
def test_it_backs_off_twice_as_long_each_time_and_delivers_in_the_end(
    site: Site, server: ScriptedServer, code: int
) -> None:
    server.script.extend([Status(code)] * 5)
    site.picture("a.jpg", b"a")
    begin = site.now
    site.run()
    assert server.contents == [b"a"]
    assert site.now - begin == pytest.approx(1 + 2 + 4 + 8 + 16, abs=1)


def test_pauses_have_an_upper_bound(site: Site, server: ScriptedServer) -> None:
    site.configure(poll_sec=1000)
    server.script.extend([Status(503)] * 20)
    site.picture("a.jpg", b"a")
    site.run()
    assert max(site.waited) <= 300
    assert sum(site.waited) > 10 * 300


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("60", 60, 66),
        ("0", 1, 1),
        ("999999999", 3600, 3960),
        ("soon", 1, 1),
        ("-5", 1, 1),
        ("in 90 s", 90 - 5, 99),
    ],
)
def test_it_waits_as_long_as_the_server_asks_for(
    site: Site, server: ScriptedServer, value: str, least: float, most: float
) -> None:
    if value == "in 90 s":
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    server.script.append(Status(429, {"Retry-After": value}))
    site.configure(poll_sec=1)
    site.picture("a.jpg", b"a")
    begin = site.now
    site.run()
    assert least - 0.01 <= site.now - begin <= most + 0.1
    assert max(site.waited) <= 1, "new pictures are taken in meanwhile"


def test_devices_do_not_come_back_all_at_once() -> None:
    from client import EdgeClient
    from edge_config import EdgeConfig

    config = EdgeConfig(url="http://x", device_id="d", folder=None, spool=None)  # type: ignore[arg-type]
    waits = []
    for chance in (0.0, 0.25, 1.0):
        client = EdgeClient(config, None, None, clock=lambda: 0.0, chance=lambda: chance)  # type: ignore[arg-type] # noqa: B023
        client._wait("why", 100.0)
        waits.append(client.not_before)
    assert waits == pytest.approx([100.0, 102.5, 110.0])


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_reset_connection_costs_nothing_and_doubles_nothing(
    site: Site, server: ScriptedServer, is_kept: bool
) -> None:
    server.script.extend([Reset(is_kept)] * 2)
    for number in range(3):
        site.picture(f"{number}.jpg", b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert server.contents == [b"0", b"1", b"2"]
    assert all(len(server.keys_of(content)) == 1 for content in server.contents)
    assert _empty(site)


@pytest.mark.slow
def test_an_answer_that_comes_too_late_is_asked_for_again_with_the_same_key(
    site: Site, server: ScriptedServer
) -> None:
    site.configure(server={"url": server.url, "timeout_sec": 0.2})
    server.script.append(Late(0.5))
    site.picture("a.jpg", b"a")
    site.run()
    assert [each.content for each in server.kept] == [b"a", b"a"]
    assert len({each.key for each in server.kept}) == 1


def test_a_smaller_batch_is_tried_over_a_bad_line(site: Site, server: ScriptedServer) -> None:
    site.configure(batch_size=8)
    for number in range(20):
        site.picture(f"{number:02}.jpg", b"%02d" % number, at=1_800_000_000 + number)
    server.script.extend([Status(503), Reset(False), Reset(False)])
    site.run()
    sizes = [sum(each.route == BATCH for each in server.kept)]
    assert [path for path, _, _ in server.requests][:3] == [DETECT, DETECT, BATCH]
    assert len(server.kept) == 20
    assert sizes[0] < 20
    assert _empty(site)


def test_a_picture_that_breaks_the_server_holds_up_no_other(site: Site, server: ScriptedServer) -> None:
    site.configure(poll_sec=1000)
    contents = [b"mad picture", *(b"%d" % number for number in range(8)), b"mad newest"]
    for number, content in enumerate(contents):
        site.picture(f"{number}.jpg", content, at=1_800_000_000 + number)

    class Waits(list[float]):
        def append(self, seconds: float) -> None:
            super().append(seconds)
            if len(self) > 30:
                raise _Enough

    site.waited = Waits()
    with pytest.raises(_Enough):
        site.run()
    assert server.contents == sorted(contents[1:-1])
    assert len(site.names("spool")) == 2
    assert site.names("refused") == []


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"{}", b'{"image_id": 5}', b""])
def test_an_answer_of_somebody_else_is_no_delivery(site: Site, server: ScriptedServer, body: bytes) -> None:
    """A hotel's page for logging in answers everything with 200."""
    server.script.extend([Status(200, body=body)] * 2)
    for number in range(3):
        site.picture(f"{number}.jpg", b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert server.contents == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    "document",
    [
        {"failed_images": ["other.jpg"], "total_processed": 2},
        {"failed_images": [], "total_processed": 1},
        {"failed_images": "0.jpg", "total_processed": 1},
        {"failed_images": [1], "total_processed": 1},
    ],
)
def test_a_batch_whose_answer_does_not_add_up_is_no_delivery(
    site: Site, server: ScriptedServer, document: object
) -> None:
    server.script.extend([None, Status(200, body=json.dumps(document).encode())])
    for number in range(3):
        site.picture(f"{number}.jpg", b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert server.contents == [b"0", b"1", b"2"]


@pytest.mark.parametrize("code", [404, 405, 501])
def test_a_server_without_batches_gets_pictures_singly(site: Site, server: ScriptedServer, code: int) -> None:
    server.script.extend([None, Status(code)])
    for number in range(6):
        site.picture(f"{number}.jpg", b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert len(server.contents) == 6
    assert [path for path, _, _ in server.requests].count(BATCH) == 1
    assert site.names("refused") == []


def test_a_batch_that_is_refused_as_a_whole_is_sent_singly(site: Site, server: ScriptedServer) -> None:
    server.script.extend([None, Status(413)])
    for number in range(4):
        site.picture(f"{number}.jpg", b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert len(server.contents) == 4
    assert site.names("refused") == []


# --- the token -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403])
def test_a_token_that_has_changed_is_read_anew(site: Site, server: ScriptedServer, code: int) -> None:
    site.token.write_text("old")

    def rotated() -> Status:
        site.token.write_text("right")
        return Status(code)

    server.script.append(rotated)
    site.picture("a.jpg", b"a")
    site.run()
    assert server.contents == [b"a"]
    assert [headers["x-api-token"] for _, headers, _ in server.requests] == ["old", "right"]


@pytest.mark.parametrize("code", [401, 403])
@pytest.mark.parametrize("fresh", ["right", "another"])
def test_it_gives_up_loudly_and_keeps_everything(
    site: Site, server: ScriptedServer, caplog: pytest.LogCaptureFixture, code: int, fresh: str
) -> None:
    from client import main

    def refused() -> Status:
        site.token.write_text(fresh)
        return Status(code)

    server.script.extend([refused, refused, refused])
    site.picture("a.jpg", b"a")
    assert main(["--config", str(site.config), "--once"]) == 3
    assert len(server.requests) == (1 if fresh == "right" else 2)
    assert "the server refuses the token" in caplog.text
    assert caplog.records[-1].levelname == "CRITICAL"
    assert len(site.names("spool")) == 1
    assert "right" not in caplog.text
    assert "another" not in caplog.text


@pytest.mark.parametrize("content", [None, "a b", "a\nb", "ü"])
def test_a_token_that_cannot_be_ends_it_like_a_refused_one(site: Site, content: str | None) -> None:
    from client import main

    if content is None:
        site.token.unlink()
    else:
        site.token.write_text(content)
    assert main(["--config", str(site.config), "--once"]) == 3


# --- the folder ----------------------------------------------------------------------------------


def test_only_whole_pictures_are_taken(site: Site, server: ScriptedServer) -> None:
    site.configure(settle_sec=5, poll_sec=1)
    picture = site.picture("a.jpg", b"half")
    looks = 0

    def grow(seconds: float | None = None) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            site.picture("a.jpg", b"the whole picture", at=1_800_000_001)

    class Waits(list[float]):
        def append(self, seconds: float) -> None:
            grow(seconds)

    site.waited = Waits()
    site.run()
    assert server.contents == [b"the whole picture"]
    assert looks >= 8
    assert not picture.exists()


def test_other_files_stay(site: Site, server: ScriptedServer) -> None:
    for name in ("notes.txt", ".hidden.jpg", "a.jpg.part"):
        site.picture(name, b"x")
    (site.folder / "pictures" / "folder.jpg").mkdir()
    (site.folder / "pictures" / "link.jpg").symlink_to(site.token)
    site.run()
    assert server.kept == []
    assert site.names("pictures") == ["a.jpg.part", "folder.jpg", "link.jpg", "notes.txt"]


def test_odd_names_are_delivered(site: Site, server: ScriptedServer) -> None:
    names = ["ü.JPG", 'a"b.png', "a\nb.jpeg", "a b;c.jpg", "x" * 240 + ".jpg", "\udcff.jpg"]
    for number, name in enumerate(names):
        site.picture(name, b"%d" % number, at=1_800_000_000 + number)
    site.run()
    assert len(server.contents) == len(names)
    assert _empty(site)


def test_a_full_spool_leaves_pictures_in_the_folder(site: Site, server: ScriptedServer) -> None:
    site.configure(spool_max_mb=0.001)
    for number in range(5):
        site.picture(f"{number}.jpg", b"%d" % number * 600, at=1_800_000_000 + number)
    server.script.append(Status(503))
    with pytest.raises(_Enough):
        _run_until_it_waits(site)
    assert len(site.names("pictures")) == 3
    site.run()
    assert len(server.contents) == 5
    assert _empty(site)


def test_an_entry_that_cannot_be_read_holds_up_no_other(site: Site, server: ScriptedServer) -> None:
    server.script.append(Status(503))
    site.picture("a.jpg", b"a")
    with pytest.raises(_Enough):
        _run_until_it_waits(site)
    (name,) = site.names("spool")
    (site.folder / "spool" / name / "entry.json").write_text("{")
    site.picture("b.jpg", b"b", at=1_800_000_001)
    site.run()
    assert server.contents == [b"b"]
    assert site.names("refused") == [name]


def test_only_one_client_works_on_a_spool(site: Site) -> None:
    from client import main
    from picture_spool import PictureSpool

    first = PictureSpool(site.folder / "spool", site.folder / "refused")
    assert main(["--config", str(site.config), "--once"]) == 2
    first.close()
    assert main(["--config", str(site.config), "--once"]) == 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"server": {"url": "lakefs:8000"}}, "server.url"),
        ({"server": {"url": "http://u:p@x"}}, "server.url"),
        ({"server": {"url": "http://x/api"}}, "server.url"),
        ({"server": {"url": "http://["}}, "server.url"),
        ({"server": {}}, "url"),
        ({"device_id": "a/b"}, "device_id"),
        ({"batch_size": 51}, "batch_size"),
        ({"batch_size": "many"}, "numbers"),
        ({"poll_sec": -1}, "numbers"),
        ({"metadata": "x"}, "metadata"),
        ({"spool": "pictures"}, "spool"),
        ({"fodler": "x"}, "fodler"),
        ({"token": {"vairable": "x"}}, "token.vairable"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(
    site: Site, caplog: pytest.LogCaptureFixture, keys: dict[str, object], said: str
) -> None:
    from client import main

    site.configure(**keys)
    assert main(["--config", str(site.config), "--once"]) == 2
    assert said in caplog.text


def test_the_configuration_beside_the_program_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from edge_config import read_config

    from tests.edge.conftest import PROGRAM

    monkeypatch.setenv("DEVICE_001_TOKEN", "t")
    found = read_config(PROGRAM.with_name("config.yaml"))
    assert (found.device_id, found.token(), found.folder.name) == ("device-001", "t", "pictures")
