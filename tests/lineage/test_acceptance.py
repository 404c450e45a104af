"""Nothing accepted is lost or doubled: a fault between every two writes, and what comes after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.picture_stores import open_pictures
from lineage.acceptance import Acceptance, Delivery
from lineage.errors import KeyReused, PathTaken, PicturesUnavailable, RecordsUnavailable
from lineage.outbox import Outbox
from lineage.picture_store import PictureStore
from lineage.record_store import ImageRecordStore
from lineage.records import Capture, ImageRecord
from tests.lineage.hand_ins import NOON, capture, data, record

#: Every method that changes something, by the part that has it.
WRITES = {"outbox": ("write", "remove"), "pictures": ("put", "delete"), "records": ("save",)}


class Killed(BaseException):
    """The process ends here: nobody catches it."""


class Faults:
    """Counts the writes of all parts; before or after one of them something happens."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.at = -1
        self.after = False
        self.raises: Callable[[str], BaseException] = lambda _: Killed()

    def wrapped(self, part: str, target: Any) -> Any:
        faults = self

        class Wrapped:
            def __getattr__(self, name: str) -> Any:
                method = getattr(target, name)
                if name not in WRITES[part]:
                    return method

                def write(*arguments: Any) -> Any:
                    number = len(faults.seen)
                    faults.seen.append(f"{part}.{name}")
                    if number == faults.at and not faults.after:
                        raise faults.raises(part)
                    result = method(*arguments)
                    if number == faults.at and faults.after:
                        raise faults.raises(part)
                    return result

                return write

        return Wrapped()


class World:
    """Records, pictures and outbox of one service, and what became of them."""

    def __init__(self, folder: Path, again: Callable[[], ImageRecordStore]) -> None:
        self.folder = folder
        self.again = again
        self.faults = Faults()
        self.records, self.pictures, self.outbox = self.parts()

    def parts(self) -> tuple[ImageRecordStore, PictureStore, Outbox]:
        """The parts as another process opens them."""
        return self.again(), open_pictures(self.folder / "pictures"), Outbox(self.folder / "outbox")

    def acceptance(self, *, deferring: bool = False, faulty: bool = False) -> Acceptance:
        """Without `faulty`: a process that nothing happens to."""
        records, pictures, outbox = self.records, self.pictures, self.outbox
        if faulty:
            wrapped = self.faults.wrapped
            records, pictures = wrapped("records", records), wrapped("pictures", pictures)
            outbox = wrapped("outbox", outbox)
        return Acceptance(records, pictures, outbox, deferring=deferring)

    def delivery(self, *, faulty: bool = False) -> Delivery:
        records, pictures, outbox = self.records, self.pictures, self.outbox
        if faulty:
            wrapped = self.faults.wrapped
            return Delivery(
                wrapped("records", records), wrapped("pictures", pictures), wrapped("outbox", outbox)
            )
        return Delivery(records, pictures, outbox)

    def stored(self) -> dict[str, bytes]:
        """The pictures by their paths."""
        found = self.pictures.objects("images/")
        return {each.path: self.pictures.get(each.path) for each in found}

    def agree(self, *numbers: int) -> None:
        """Exactly these pictures have one record and one object each, and nothing waits."""
        records = [self.records.find(capture(number)) for number in numbers]
        assert None not in records
        paths = {each.path: data(number) for each, number in zip(records, numbers, strict=True) if each}
        assert self.stored() == paths
        assert len(paths) == len(numbers)
        assert self.outbox.length() == 0


@pytest.fixture
def world(tmp_path: Path, again: Callable[[], ImageRecordStore]) -> World:
    """An empty service, its records in memory, SQLite and PostgreSQL."""
    return World(tmp_path, again)


def given(acceptance: Acceptance, number: int = 1) -> ImageRecord:
    """The answer for a hand-in, as the service gives it."""
    known = acceptance.known(capture(number))
    return known if known is not None else acceptance.accept(record(number), data(number))


def test_what_is_accepted_is_stored_once_and_answered_as_the_first_time(world: World) -> None:
    first = given(world.acceptance())
    world.agree(1)
    assert given(world.acceptance()) == first
    later = world.acceptance().accept(record(1, version="v2"), data(1))
    assert later == first
    world.agree(1)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whoever_dies_between_two_writes_leaves_all_or_nothing(world: World, after: bool) -> None:
    steps = _steps(lambda: given(world.acceptance(faulty=True), 99), world.faults)
    assert steps == ["outbox.write", "pictures.put", "records.save", "outbox.remove"]
    numbers = range(1, len(steps) + 1)
    for number in numbers:
        world.faults.seen, world.faults.at, world.faults.after = [], number - 1, after
        with pytest.raises(Killed):
            given(world.acceptance(faulty=True), number)
        world.delivery().run()
        assert world.outbox.length() == 0
        whole = world.records.find(capture(number)) is not None
        assert whole == (data(number) in world.stored().values())
        given(world.acceptance(), number)
    world.agree(99, *numbers)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_retry_that_comes_before_the_recovery_is_stored_once(world: World, after: bool) -> None:
    for number in range(1, 5):
        world.faults.seen, world.faults.at, world.faults.after = [], number - 1, after
        with pytest.raises(Killed):
            given(world.acceptance(faulty=True), number)
        given(world.acceptance(), number)
        world.delivery().run()
    world.agree(1, 2, 3, 4)


def test_a_store_that_is_away_refuses_and_what_it_left_is_completed_or_gone(world: World) -> None:
    def away(part: str) -> BaseException:
        return RecordsUnavailable("away") if part == "records" else PicturesUnavailable("away")

    world.faults.raises = away
    for number in range(1, 5):
        world.faults.seen, world.faults.at = [], number - 1
        with pytest.raises((RecordsUnavailable, PicturesUnavailable)):
            given(world.acceptance(faulty=True), number)
        world.delivery().run()
        given(world.acceptance(), number)
    world.agree(1, 2, 3, 4)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_what_was_accepted_while_all_was_away_is_delivered_once_whoever_dies(
    world: World, after: bool
) -> None:
    first = given(world.acceptance(deferring=True), 99)
    steps = _steps(lambda: world.delivery(faulty=True).run(), world.faults)
    assert steps == ["pictures.put", "records.save", "outbox.remove"]
    assert world.records.find(capture(99)) == first
    for number in range(1, len(steps) + 1):
        answer = given(world.acceptance(deferring=True), number)
        world.faults.seen, world.faults.at, world.faults.after = [], number - 1, after
        with pytest.raises(Killed):
            world.delivery(faulty=True).run()
        assert given(world.acceptance(deferring=True), number) == answer
        world.delivery().run()
        assert world.records.find(capture(number)) == answer
    world.agree(99, 1, 2, 3)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_who_dies_before_the_answer_of_a_deferring_outbox_has_accepted_all_or_nothing(
    world: World, after: bool
) -> None:
    world.faults.at, world.faults.after = 0, after
    with pytest.raises(Killed):
        given(world.acceptance(deferring=True, faulty=True))
    world.delivery().run()
    assert (world.records.find(capture(1)) is not None) == after
    given(world.acceptance(deferring=True))
    world.delivery().run()
    world.agree(1)


def test_a_deferring_outbox_answers_while_records_and_pictures_are_away(world: World) -> None:
    nothing: Any = Nothing()
    acceptance = Acceptance(nothing, nothing, world.outbox, deferring=True)
    answers = [given(acceptance, number) for number in (1, 2, 1)]
    assert answers[0] == answers[2]
    with pytest.raises((PicturesUnavailable, RecordsUnavailable)):
        Delivery(nothing, nothing, world.outbox).run()
    assert world.outbox.length() == 2
    assert world.delivery().run() == 2
    world.agree(1, 2)


def test_another_picture_under_the_same_name_gets_a_longer_one(world: World) -> None:
    first = given(world.acceptance(), 1)
    taken = record(2).model_copy(update={"path": ""})
    name = f"{first.path.rpartition('_')[0]}_{taken.image_id.hex[:4]}.jpg"
    # A stranger lies where picture 2 would be stored.
    moved = name.replace("12-00-01", "12-00-02")
    world.pictures.put(moved, b"a stranger", {})
    second = given(world.acceptance(), 2)
    assert second.path.startswith(moved.removesuffix(".jpg"))
    assert len(second.path) == len(moved) + 1
    assert world.pictures.get(second.path) == data(2)
    assert world.pictures.get(moved) == b"a stranger"


def test_a_key_belongs_to_one_picture(world: World) -> None:
    first = record(taken=capture(1, key="k"))
    world.acceptance().accept(first, data(1))
    with pytest.raises(KeyReused):
        world.acceptance().known(capture(2, key="k"))
    with pytest.raises(KeyReused):
        world.acceptance().accept(record(taken=capture(2, key="k")), data(2))
    world.agree(1)


def test_an_accepted_picture_whose_key_was_used_elsewhere_is_kept_without_it(world: World) -> None:
    world.acceptance(deferring=True).accept(record(taken=capture(2, key="k")), data(2))
    world.records.save(record(taken=capture(1, key="k")).model_copy(update={"path": "images/elsewhere.jpg"}))
    world.delivery().run()
    kept = world.records.find(capture(2))
    assert kept is not None
    assert world.pictures.get(kept.path) == data(2)


def test_the_same_picture_from_many_at_once_is_stored_once(world: World) -> None:
    answers: list[ImageRecord] = []

    def hand_in(version: str) -> None:
        answers.append(world.acceptance().accept(record(1, version=version), data(1)))

    threads = [threading.Thread(target=hand_in, args=(f"v{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len({each.run.model_version for each in answers if each.run}) == 1
    world.agree(1)


def test_without_a_free_name_nothing_is_kept(world: World) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.pictures, name)

        def put(self, *_: Any) -> None:
            raise PathTaken("taken")

    full: Any = Full()
    with pytest.raises(PathTaken):
        Acceptance(world.records, full, world.outbox).accept(record(1), data(1))
    assert world.records.find(capture(1)) is None


def _steps(work: Callable[[], object], faults: Faults) -> list[str]:
    """The writes of some work that nothing happens to."""
    faults.seen, faults.at = [], -1
    work()
    return faults.seen


def test_a_refused_key_takes_nothing_from_a_picture_that_stands(world: World) -> None:
    given(world.acceptance(), 1)
    world.acceptance().accept(record(taken=capture(2, key="k")), data(2))
    with pytest.raises(KeyReused):
        world.acceptance().accept(record(taken=capture(1, key="k")), data(1))
    world.agree(1, 2)


def test_a_key_that_came_with_another_moment_takes_nothing_from_a_picture_that_stands(world: World) -> None:
    later = capture(1).model_copy(update={"captured_at": NOON, "idempotency_key": None})
    first = world.acceptance().accept(record(taken=capture(1, key="k")), data(1))
    second = world.acceptance().accept(record(taken=later), data(1))
    again = later.model_copy(update={"idempotency_key": "k"})
    deferring = world.acceptance(deferring=True).accept(record(taken=again), data(1))
    world.delivery().run()
    assert world.stored() == {first.path: data(1), second.path: data(1)}
    assert deferring.image_id == second.image_id
    assert world.outbox.length() == 0


def test_an_entry_that_cannot_be_delivered_holds_up_no_other(world: World) -> None:
    noted = record(taken=capture(1, key="k")).model_copy(update={"path": "images/camera-1/a.jpg"})
    world.outbox.write(noted)
    world.pictures.put(noted.path, data(1), {})
    world.acceptance().accept(record(taken=capture(2, key="k")), data(2))
    world.acceptance(deferring=True).accept(record(3), data(3))
    world.delivery().run()
    assert world.records.find(capture(3)) is not None
    assert world.records.find(capture(1)) is None
    assert world.outbox.length() == 0


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_whoever_dies_while_a_key_is_taken_off_an_accepted_picture_loses_nothing(
    world: World, after: bool
) -> None:
    world.acceptance().accept(record(taken=capture(9, key="k")), data(9))
    taken = record(taken=capture(1, key="k"))
    for at in range(5):
        Acceptance(_nothing(), _nothing(), world.outbox, deferring=True).accept(taken, data(1))
        world.faults.seen, world.faults.at, world.faults.after = [], at, after
        with suppress(Killed):
            world.delivery(faulty=True).run()
        world.delivery().run()
        assert world.records.find(capture(1)) is not None, world.faults.seen
        world.agree(9, 1)


def test_the_first_answer_of_a_deferring_outbox_is_that_of_every_retry(world: World) -> None:
    exact = record(1)
    rough = exact.found[0].model_copy(update={"confidence": 0.3709191381931305})
    first = world.acceptance(deferring=True).accept(exact.model_copy(update={"found": (rough,)}), data(1))
    world.delivery().run()
    assert world.acceptance().known(capture(1)) == first


@pytest.mark.slow
def test_two_deferred_pictures_never_have_one_name(world: World) -> None:
    waiting = given(world.acceptance(deferring=True), 1)
    other = record(taken=_same_name(waiting))
    named = world.acceptance(deferring=True).accept(other, b"other")
    assert named.path != waiting.path
    assert named.path.startswith(waiting.path.removesuffix(".jpg"))


def _same_name(waiting: ImageRecord) -> Capture:
    """Another picture of that second whose name would be the same."""
    for number in range(1_000_000):
        found = waiting.capture.model_copy(update={"sha256": f"{number:064x}"})
        if found.image_id.hex[:4] == waiting.image_id.hex[:4]:
            return found
    raise AssertionError


class Nothing:
    """Records and pictures that are away."""

    def __getattr__(self, name: str) -> Any:
        def away(*_: Any) -> Any:
            raise (
                RecordsUnavailable("away") if name in ("find", "path_holder") else PicturesUnavailable("away")
            )

        return away


def _nothing() -> Any:
    return Nothing()
