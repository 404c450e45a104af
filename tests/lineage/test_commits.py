"""When pictures are committed, that each is in the commit noted for it, and what a killed commit leaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.sql.sql_records import SqlRecords
from lineage.commits import Committer
from lineage.errors import PictureNotFound, PicturesUnavailable
from lineage.paths import folder_of
from lineage.picture_store import PictureStore
from lineage.record_store import ImageRecordStore
from lineage.records import ImageRecord, ProcessingStatus
from scripts import clients
from tests.support.captures import NOON, a_capture, a_record
from tests.support.databases import POSTGRESQL
from tests.support.lakefs_server import LakefsRepository, LakefsServer, running_lakefs
from tests.support.picture_places import folder_place
from tests.support.records_memory import RecordsMemory
from tests.support.s3_server import S3Server, running_s3
from tests.support.stopped_calls import Killed, StopAt

#: The S3 server may have to be built first.
pytestmark = pytest.mark.timeout(300)
OTHER_DAY = NOON + timedelta(days=1)


class World:
    """Records and pictures of a service, and a time of day that stands still until it is moved."""

    def __init__(self, records: ImageRecordStore, pictures: PictureStore, now: list[datetime]) -> None:
        self.records = records
        self.pictures = pictures
        self._now = now
        self.slept: list[float] = []

    def committer(self, holder: str = "one", **changes: Any) -> Committer:
        """One of several; ten pictures or five minutes."""
        parts: dict[str, Any] = {"records": self.records, "pictures": self.pictures} | changes
        return Committer(holder=holder, clock=self._time, sleep=self.slept.append, **parts)

    def _time(self) -> float:
        return self._now[0].timestamp()

    def pass_time(self, seconds: float) -> None:
        self._now[0] += timedelta(seconds=seconds)

    def store(self, number: int, **changes: Any) -> ImageRecord:
        """Take in a picture now, as the service does."""
        capture = changes.pop("capture", None) or a_capture(number)
        record = a_record(capture, uploaded_at=self._now[0], **changes)
        self.pictures.put(record.path, b"picture %d" % number, {})
        return self.records.save(record)

    def commit_of(self, record: ImageRecord) -> str | None:
        image = self.records.image(record.image_id)
        assert image is not None
        return image.commit_id

    def document(self, record: ImageRecord) -> Any:
        """`metadata.json` beside a picture."""
        return json.loads(self.pictures.get(f"{folder_of(record.capture)}/metadata.json"))


@pytest.fixture
def now() -> list[datetime]:
    return [NOON]


@pytest.fixture(params=["memory", "sqlite", POSTGRESQL])
def records(request: pytest.FixtureRequest, now: list[datetime]) -> Iterator[ImageRecordStore]:
    """Records whose time is that of the test."""
    if request.param == "memory":
        yield RecordsMemory(lambda: now[0])
    else:
        url = request.getfixturevalue(f"{request.param}_place")
        with closing(SqlRecords(url, clock=lambda: now[0])) as opened:
            yield opened


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    try:
        with running_s3() as server:
            yield server
    except clients.Unavailable as error:
        pytest.skip(f"no S3 server: {error}")


@pytest.fixture
def world(
    request: pytest.FixtureRequest, records: ImageRecordStore, tmp_path: Path, now: list[datetime]
) -> Iterator[World]:
    """Pictures in a folder, with PostgreSQL in S3."""
    is_remote = "postgresql" in records.name
    place = request.getfixturevalue("s3_server").place() if is_remote else folder_place(tmp_path / "pictures")
    with closing(place):
        yield World(records, place.open(), now)


@pytest.fixture(scope="module")
def lakefs_server() -> Iterator[LakefsServer]:
    with running_lakefs() as server:
        yield server


Worlds = Callable[[], tuple[World, LakefsRepository]]


@pytest.fixture
def lakefs_worlds(lakefs_server: LakefsServer, now: list[datetime]) -> Iterator[Worlds]:
    """Makes empty ones with pictures on a branch, and its state."""
    places = []

    def make() -> tuple[World, LakefsRepository]:
        place = lakefs_server.place()
        places.append(place)
        repository = lakefs_server.repositories[place.location.split("/")[2]]
        return World(RecordsMemory(lambda: now[0]), place.open(), now), repository

    yield make
    for place in places:
        place.close()


def test_a_commit_is_due_when_there_are_enough_pictures(world: World) -> None:
    committer = world.committer(batch_size=3)
    stored = [world.store(1), world.store(2)]
    assert committer.step() is None
    stored.append(world.store(3))
    result = committer.step()
    assert result is not None
    assert result.pictures == 3
    assert {world.commit_of(one) for one in stored} == {result.commit_id}
    assert committer.step() is None


def test_a_commit_is_due_when_a_picture_is_old_enough(world: World) -> None:
    committer = world.committer()
    old = world.store(1)
    world.pass_time(299)
    young = world.store(2)
    assert committer.step() is None
    world.pass_time(1)
    result = committer.step()
    assert result is not None
    assert world.commit_of(old) == world.commit_of(young) == result.commit_id


def test_with_a_size_of_one_each_picture_is_committed_at_once(world: World) -> None:
    committer = world.committer(batch_size=1)
    commits = set()
    for number in range(3):
        one = world.store(number)
        result = committer.step()
        assert result is not None
        assert world.commit_of(one) == result.commit_id
        commits.add(result.commit_id)
    assert len(commits) == 3


def test_after_a_commit_that_took_long_the_next_waits(world: World) -> None:
    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.pictures, name)

        def replace(self, path: str, data: bytes) -> None:
            world.pass_time(3)
            world.pictures.replace(path, data)

    committer = world.committer(batch_size=1, pictures=Slow())
    world.store(1)
    assert committer.step() is not None
    second = world.store(2)
    world.pass_time(59)
    assert committer.step() is None
    world.pass_time(1)
    assert committer.step() is not None
    assert world.commit_of(second) is not None


def test_without_pictures_nothing_is_committed(world: World) -> None:
    world.pass_time(10_000)
    assert world.committer(batch_size=1).step() is None
    assert world.committer().commit_now([]) is None
    assert list(world.pictures.objects()) == []


def test_a_picture_that_could_not_be_inferred_is_no_reason_for_a_commit(world: World) -> None:
    failed = world.store(1, status=ProcessingStatus.FAILED, run=None, found=())
    assert world.committer(batch_size=1).step() is None
    assert world.committer().commit_now([failed.image_id]) is None
    world.store(2)
    assert world.committer(batch_size=1).step() is not None
    # The document knows it, since it lies in the store.
    assert {one["status"] for one in world.document(failed)["pictures"]} == {"failed", "completed"}


def test_the_folder_of_each_day_tells_what_is_known_of_its_pictures(world: World) -> None:
    stored = [
        world.store(1),
        world.store(2, capture=a_capture(2, device="cam-2")),
        world.store(3, capture=a_capture(3, captured_at=OTHER_DAY)),
    ]
    world.committer(batch_size=3).step()
    for one in stored:
        document = world.document(one)
        assert document["folder"] == folder_of(one.capture)
        (picture,) = document["pictures"]
        (found,) = one.found
        assert one.run is not None
        assert picture == {
            "path": one.path,
            "image_id": str(one.image_id),
            "device_id": one.capture.device_id,
            "captured_at": one.capture.captured_at.isoformat(),
            "sha256": one.capture.sha256,
            "size_bytes": one.capture.size_bytes,
            "width": 640,
            "height": 480,
            "status": "completed",
            "model": "shapes",
            "model_version": "v2",
            "model_digest": one.run.model_digest,
            "detections": [
                {
                    "id": str(found.id),
                    "label": "bird",
                    "confidence": pytest.approx(found.confidence),
                    "bbox": pytest.approx(found.bbox),
                }
            ],
        }
    later = world.store(4)
    world.committer(batch_size=1).step()
    assert [one["path"] for one in world.document(later)["pictures"]] == sorted([stored[0].path, later.path])


def test_a_batch_is_one_commit_and_leaves_others_out(world: World) -> None:
    waiting = world.store(0)
    batch = [world.store(number) for number in range(1, 13)]
    committer = world.committer()
    result = committer.commit_now([one.image_id for one in batch])
    assert result is not None
    assert result.pictures == 12
    assert {world.commit_of(one) for one in batch} == {result.commit_id}
    assert world.commit_of(waiting) is None
    assert committer.commit_now([one.image_id for one in batch]) is None


def test_while_a_batch_is_handed_in_nobody_commits_a_part_of_it(world: World) -> None:
    ours, other = world.committer("one"), world.committer("two")
    with ours.batch():
        batch = [world.store(number) for number in range(12)]
        for _ in range(3):
            # Steps keep the right for longer than it was taken for.
            assert ours.step() is None
            assert other.step() is None
            world.pass_time(50)
        result = ours.commit_now([one.image_id for one in batch])
    assert result is not None
    assert {world.commit_of(one) for one in batch} == {result.commit_id}
    world.store(20)
    assert world.committer("two", batch_size=1).step() is not None


def test_a_long_batch_holds_up_no_picture_that_is_too_old(world: World) -> None:
    committer = world.committer()
    old = world.store(1)
    with committer.batch():
        for _ in range(6):
            world.pass_time(50)
            committer.step()
        assert world.commit_of(old) is not None


def test_a_batch_whose_process_was_killed_holds_others_up_for_a_minute(world: World) -> None:
    killed = world.committer("killed").batch()
    killed.__enter__()
    stored = [world.store(number) for number in range(10)]
    assert world.committer("two").step() is None
    world.pass_time(60)
    assert world.committer("two").step() is not None
    assert all(world.commit_of(one) for one in stored)


def test_a_batch_waits_a_little_for_the_right_to_commit(world: World) -> None:
    stored = world.store(1)
    assert world.records.hold("commit", "another", 60)
    assert world.committer().commit_now([stored.image_id]) is None
    assert 4 < sum(world.slept) < 6
    assert world.commit_of(stored) is None
    world.records.hold("commit", "another", 0)
    assert world.committer().commit_now([stored.image_id]) is not None


def test_of_several_services_one_commits(lakefs_worlds: Worlds) -> None:
    world, repository = lakefs_worlds()
    for number in range(10):
        world.store(number)
    committers = [world.committer(f"service {number}") for number in range(4)]
    barrier = threading.Barrier(4)
    results = []

    def step(committer: Committer) -> None:
        barrier.wait()
        results.append(committer.step())

    threads = [threading.Thread(target=step, args=[committer]) for committer in committers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in results if one is not None]) == 1
    assert len(repository.commits) == 2


@pytest.mark.parametrize("folders", [1, 2])
def test_who_has_lost_the_right_goes_no_further(lakefs_worlds: Worlds, folders: int) -> None:
    world, repository = lakefs_worlds()
    for number in range(10):
        world.store(number, capture=a_capture(number, device=f"cam-{number % folders}"))
    replaced: list[str] = []

    class Slow:
        """A store that takes two minutes to write a document; meanwhile another service takes over."""

        def __getattr__(self, name: str) -> Any:
            return getattr(world.pictures, name)

        def replace(self, path: str, data: bytes) -> None:
            replaced.append(path)
            world.pass_time(120)
            world.records.hold("commit", "another", 600)

    assert world.committer(pictures=Slow()).step() is None
    assert len(replaced) == 1
    assert len(repository.commits) == 1


@pytest.mark.slow
def test_a_store_that_is_away_loses_nothing(lakefs_worlds: Worlds, lakefs_server: LakefsServer) -> None:
    world, _ = lakefs_worlds()
    stored = [world.store(number) for number in range(10)]
    committer = world.committer()
    lakefs_server.stop()
    with pytest.raises(PicturesUnavailable):
        committer.step()
    lakefs_server.start()
    assert committer.step() is not None
    assert all(world.commit_of(one) for one in stored)


class _Death(StopAt):
    """Stops at a call, and answers no call after it: not even those that clean up."""

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        if len(self.calls) >= self._call:
            raise Killed(name)
        return super().around(name, call)


def _step_until(world: World, death: _Death, *, is_batch: bool, ids: list[Any]) -> None:
    committer = world.committer(
        "killed", records=death.wrap(world.records), pictures=death.wrap(world.pictures), batch_size=4
    )
    if is_batch:
        committer.commit_now(ids)
    else:
        committer.step()


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("is_batch", [False, True])
def test_a_commit_that_was_killed_anywhere_is_completed(
    lakefs_worlds: Worlds, after: bool, is_batch: bool
) -> None:
    calls: list[str] = []
    for number in range(1, 100):
        world, repository = lakefs_worlds()
        stored = [
            world.store(2 * count, capture=a_capture(count, device=f"cam-{count % 2}")) for count in range(4)
        ]
        death = _Death(number, after=after)
        try:
            _step_until(world, death, is_batch=is_batch, ids=[one.image_id for one in stored])
        except Killed:
            calls.append(death.calls[-1])
        else:
            break
        stored.append(world.store(99))
        world.pass_time(60)
        fresh = world.committer("fresh", batch_size=1)
        fresh.step()
        assert fresh.step() is None
        for one in stored:
            commit_id = world.commit_of(one)
            assert commit_id is not None, (number, death.calls)
            objects = repository.commits[commit_id]
            assert one.path in objects
            document = json.loads(objects[f"{folder_of(one.capture)}/metadata.json"].data)
            assert one.path in {picture["path"] for picture in document["pictures"]}
    assert {"hold", "folder", "get", "replace", "commit", "committed"} <= set(calls)


def test_what_was_committed_and_not_noted_is_noted_with_that_commit(lakefs_worlds: Worlds) -> None:
    world, repository = lakefs_worlds()
    stored = [world.store(number) for number in range(4)]

    class NotNoted:
        """Records that die before the commit is noted."""

        def __getattr__(self, name: str) -> Any:
            if name == "committed":
                raise Killed(name)
            return getattr(world.records, name)

    with pytest.raises(Killed):
        world.committer(records=NotNoted(), batch_size=4).step()
    (made,) = repository.commits.keys() - {next(iter(repository.commits))}
    result = world.committer(batch_size=4).step()
    assert result is not None
    assert result.commit_id == made
    assert {world.commit_of(one) for one in stored} == {made}
    assert len(repository.commits) == 2


def test_a_document_that_is_right_is_not_written_again(
    lakefs_worlds: Worlds, lakefs_server: LakefsServer
) -> None:
    world, _ = lakefs_worlds()
    stored = [world.store(number) for number in range(4)]
    world.committer(batch_size=4).step()
    path = f"{folder_of(stored[0].capture)}/metadata.json"
    before = world.pictures.get(path)
    lakefs_server.calls.clear()
    committer = world.committer()
    committer._write_metadata(path.rpartition("/")[0])
    assert lakefs_server.calls == ["get_object"]
    assert world.pictures.get(path) == before


def test_more_pictures_than_one_commit_takes_are_left_to_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lineage.commits._MOST", 4)
    stored = [world.store(number) for number in range(10)]
    committer = world.committer(batch_size=1)
    commits = [committer.step() for _ in range(4)]
    assert [one.pictures if one else 0 for one in commits] == [4, 4, 2, 0]
    assert all(world.commit_of(one) for one in stored)
    with pytest.raises(PictureNotFound):
        world.pictures.get("images/cam-1/2026-11-30/metadata.json")
