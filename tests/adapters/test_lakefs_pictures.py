"""Pictures in lakeFS: what only commits, branches and tags can show, and a server that fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.pictures.lakefs_pictures import LakefsPictures
from hotswap.errors import Conflict
from lineage.errors import BadPicturePlace, PathTaken, PicturesUnavailable
from scripts import clients
from tests.support.lakefs_server import ACCESS_KEY, SECRET_KEY, LakefsServer, real_place
from tests.support.picture_places import PicturePlace

PATH = "images/cam-1/2026-01-02/03-04-05_ab12.jpg"
OTHER = "images/cam-1/2026-01-02/03-04-06_ab12.jpg"


@pytest.fixture
def lakefs(lakefs_pictures: PicturePlace) -> LakefsPictures:
    """A client of a branch."""
    opened = lakefs_pictures.open()
    assert isinstance(opened, LakefsPictures)
    return opened


@pytest.fixture
def doubled(lakefs_server: LakefsServer) -> Iterator[LakefsPictures]:
    """A client of the double's, which repeats its calls at once."""
    place = lakefs_server.place()
    repository = place.location.split("/")[2]
    with closing(LakefsPictures(repository, "main", place.options, sleep=lambda _: None)) as pictures:
        yield pictures


@pytest.fixture
def lakefs_environment() -> Path:
    """Where the client of lakeFS lies."""
    try:
        return clients.build("lakefs")
    except clients.Unavailable as error:
        pytest.skip(f"no client of lakeFS: {error}")


def _ask(place: PicturePlace, url: str, **query: str) -> httpx.Response:
    """A call that our client has no need of."""
    options = place.options
    repository = place.location.split("/")[2]
    return httpx.get(
        f"{options.endpoint}/api/v1/repositories/{repository}{url}",
        params=query,
        auth=(options.access_key, options.secret_key),
    )


def test_metadata_lies_on_the_object(lakefs_pictures: PicturePlace) -> None:
    lakefs_pictures.open().put(PATH, b"one", {"device_id": "cam-1", "filename": "Vögel 100%.jpg"})
    metadata = _ask(lakefs_pictures, "/refs/main/objects/stat", path=PATH).json()["metadata"]
    assert {name.lower(): text for name, text in metadata.items()} == {
        "device-id": "cam-1",
        "filename": "V%C3%B6gel 100%25.jpg",
    }


def test_a_commit_holds_what_was_put_before_it_and_nothing_else(
    lakefs_pictures: PicturePlace, lakefs: LakefsPictures
) -> None:
    lakefs.put(PATH, b"one", {})
    commit_id = lakefs.commit("1 picture", {"pictures": "1"})
    lakefs.put(OTHER, b"two", {})
    assert _ask(lakefs_pictures, f"/refs/{commit_id}/objects", path=PATH).content == b"one"
    assert _ask(lakefs_pictures, f"/refs/{commit_id}/objects", path=OTHER).status_code == 404
    assert lakefs.head() == commit_id
    assert lakefs.commit("another", {}) == lakefs.head() != commit_id


def test_a_tag_stays_when_the_branch_goes_on(lakefs: LakefsPictures) -> None:
    lakefs.put(PATH, b"one", {})
    commit_id = lakefs.commit("1 picture", {})
    assert lakefs.create_tag("training-2026-01", "main") == commit_id
    lakefs.delete([PATH])
    lakefs.commit("removed", {})
    assert lakefs.tag("training-2026-01") == commit_id
    assert lakefs.tag("training-2026-02") is None


def test_what_is_put_on_a_branch_is_on_no_other(
    lakefs_pictures: PicturePlace, lakefs: LakefsPictures
) -> None:
    lakefs.put(PATH, b"one", {})
    lakefs.commit("1 picture", {})
    lakefs.create_branch("experiment-night", "main")
    repository = lakefs_pictures.location.split("/")[2]
    branch = LakefsPictures(repository, "experiment-night", lakefs_pictures.options)
    branch.put(OTHER, b"two", {})
    assert [one.path for one in branch.objects()] == [PATH, OTHER]
    assert [one.path for one in lakefs.objects()] == [PATH]
    branch.close()


def test_a_branch_or_tag_is_made_once(lakefs: LakefsPictures) -> None:
    lakefs.create_branch("training-1", "main")
    with pytest.raises(Conflict):
        lakefs.create_branch("training-1", "main")
    lakefs.create_tag("training-tag", "main")
    with pytest.raises(Conflict):
        lakefs.create_tag("training-tag", "main")


@pytest.mark.parametrize("name", ["feature", "experiment-", "training-a/b", "main2", "", "-x"])
def test_branches_and_tags_have_the_names_that_were_agreed(lakefs: LakefsPictures, name: str) -> None:
    with pytest.raises(BadPicturePlace):
        lakefs.create_branch(name, "main")
    with pytest.raises(BadPicturePlace):
        lakefs.create_tag(name, "main")


def test_a_branch_that_is_not_there_is_no_missing_picture(
    lakefs_pictures: PicturePlace, lakefs: LakefsPictures
) -> None:
    pictures = LakefsPictures(
        lakefs_pictures.location.split("/")[2], "experiment-none", lakefs_pictures.options
    )
    for call in (pictures.check, lambda: pictures.get(PATH), lambda: pictures.put(PATH, b"", {})):
        with pytest.raises(PicturesUnavailable, match="404") as caught:
            call()
        assert type(caught.value) is PicturesUnavailable
    pictures.close()


def test_long_lists_come_in_pages_and_long_deletions_in_parts(
    lakefs_server: LakefsServer, doubled: LakefsPictures
) -> None:
    next(iter(lakefs_server.repositories.values())).page = 3
    paths = [f"images/cam-1/2026-01-02/00-00-0{second}_abcd.jpg" for second in range(7)]
    for path in paths:
        doubled.put(path, b"x", {})
    lakefs_server.calls.clear()
    assert [one.path for one in doubled.objects()] == paths
    assert lakefs_server.calls == ["list_objects"] * 3
    doubled.delete([*paths, *(f"images/gone/{number}" for number in range(1001))])
    assert lakefs_server.calls[3:] == ["delete_objects"] * 2
    assert list(doubled.objects()) == []


_CALLS: dict[str, Callable[[LakefsPictures], Any]] = {
    "put": lambda pictures: pictures.put(PATH, b"one", {}),
    "replace": lambda pictures: pictures.replace(PATH, b"one"),
    "get": lambda pictures: pictures.get(PATH),
    "delete": lambda pictures: pictures.delete([OTHER]),
    "objects": lambda pictures: list(pictures.objects()),
    "commit": lambda pictures: pictures.commit("1 picture", {}),
    "check": lambda pictures: pictures.check(),
}


@pytest.mark.parametrize("status", [409, 429, 500, 503])
@pytest.mark.parametrize("call", _CALLS)
def test_what_fails_once_is_done_at_the_second_time(
    lakefs_server: LakefsServer, doubled: LakefsPictures, call: str, status: int
) -> None:
    doubled.put(PATH, b"one", {})
    lakefs_server.faults = [(status, b"<html>busy")]
    _CALLS[call](doubled)
    assert lakefs_server.faults == []


@pytest.mark.parametrize("call", _CALLS)
def test_an_answer_that_is_lost_changes_nothing(
    lakefs_server: LakefsServer, doubled: LakefsPictures, call: str
) -> None:
    if call != "put":
        doubled.put(PATH, b"one", {})
    lakefs_server.lost = 1
    result = _CALLS[call](doubled)
    assert [one.path for one in doubled.objects()] == [PATH]
    if call == "commit":
        # The second time there was nothing to commit.
        assert result == doubled.head()
        (repository,) = lakefs_server.repositories.values()
        assert len(repository.commits) == 2


@pytest.mark.parametrize("call", _CALLS)
@pytest.mark.parametrize("fault", [(503, b"{}"), (418, b'{"message": "a teapot\\nwith lines"}')])
def test_what_keeps_failing_is_unavailable(
    lakefs_server: LakefsServer, doubled: LakefsPictures, call: str, fault: tuple[int, bytes]
) -> None:
    lakefs_server.faults = [fault] * 9
    with pytest.raises(PicturesUnavailable, match=str(fault[0])) as caught:
        _CALLS[call](doubled)
    assert "\n" not in caught.value.message
    assert not isinstance(caught.value, PathTaken)
    # 503 was tried three times; what cannot change was tried once.
    assert len(lakefs_server.faults) == (6 if fault[0] == 503 else 8)


@pytest.mark.parametrize("call", ["objects", "commit", "check", "delete"])
def test_an_answer_of_another_form_is_no_answer(
    lakefs_server: LakefsServer, doubled: LakefsPictures, call: str
) -> None:
    lakefs_server.faults = [(201 if call == "commit" else 200, b'{"id": 1}')]
    with pytest.raises(PicturesUnavailable, match="something else"):
        _CALLS[call](doubled)


def test_a_redirect_does_not_carry_the_key_elsewhere(
    lakefs_server: LakefsServer, doubled: LakefsPictures
) -> None:
    lakefs_server.faults = [(302, b"")]
    with pytest.raises(PicturesUnavailable, match="302"):
        doubled.check()
    assert lakefs_server.calls == ["get_branch"]
    assert lakefs_server.violations == []


def test_a_hook_that_refuses_a_commit_is_named(lakefs_server: LakefsServer, doubled: LakefsPictures) -> None:
    lakefs_server.faults = [(412, b'{"message": "pre-commit hook: no birds"}')]
    with pytest.raises(PicturesUnavailable, match="no birds"):
        doubled.commit("1 picture", {})


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("GET", "/refs/main/objects?path=x&pathh=y", {}),
        ("GET", "/refs/main/objects", {}),
        ("GET", "/refs/main/objects/ls?amount=1001", {}),
        (
            "POST",
            "/branches/main/objects?path=x",
            {"content": b"x", "headers": {"content-type": "image/png"}},
        ),
        ("POST", "/branches/main/commits", {"json": {"mesage": "x"}}),
        ("POST", "/branches/main/commits", {"json": {"message": "x", "metadata": {"pictures": 1}}}),
        ("PUT", "/branches/main/commits", {"json": {"message": "x"}}),
    ],
)
def test_the_double_notices_a_call_that_lakefs_does_not_have(
    lakefs_server: LakefsServer, method: str, path: str, options: dict[str, Any]
) -> None:
    repository = lakefs_server.place().location.split("/")[2]
    httpx.request(method, f"{lakefs_server.endpoint}/api/v1/repositories/{repository}{path}", **options)
    assert len(lakefs_server.violations) == 1
    lakefs_server.violations.clear()


def test_the_double_notices_an_answer_that_lakefs_does_not_give(
    lakefs_server: LakefsServer, doubled: LakefsPictures
) -> None:
    (repository,) = lakefs_server.repositories.values()
    repository.get_branch = lambda **_: (200, {"commit": "1"})  # type: ignore[method-assign]
    with pytest.raises(PicturesUnavailable):
        doubled.check()
    assert len(lakefs_server.violations) == 1
    lakefs_server.violations.clear()


def test_a_real_one_gets_a_repository_for_each_test(
    lakefs_server: LakefsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEFS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", SECRET_KEY)
    with (
        closing(real_place(f"{lakefs_server.endpoint}/")) as one,
        closing(real_place(lakefs_server.endpoint)) as two,
    ):
        one.open().put(PATH, b"one", {})
        assert list(two.open().objects()) == []


@pytest.mark.process
@pytest.mark.timeout(300)
def test_the_double_is_understood_by_the_client_of_lakefs(
    lakefs_server: LakefsServer, lakefs_environment: Path
) -> None:
    place = lakefs_server.place()
    with closing(place.open()) as pictures:
        pictures.put(PATH, b"one", {"device_id": "cam-1"})
        options = place.options
        program = Path(__file__).with_name("lakefs_official.py")
        repository = place.location.split("/")[2]
        done = subprocess.run(
            [
                *(lakefs_environment / "bin" / "python", program),
                *(lakefs_server.endpoint, repository, options.access_key, options.secret_key),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
        head = pictures.commit("nothing", {})
    assert seen == {
        "listed": [PATH],
        "has_more": False,
        "size": 3,
        "metadata": {"device-id": "cam-1"},
        "data": "one",
        **dict.fromkeys(("commit", "head", "tag", "tag_read"), head),
        "not_deleted": [],
        "no_changes": 400,
        "branch_twice": 409,
        "missing": 404,
    }
