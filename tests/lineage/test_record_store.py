"""What every record store promises: SQLite, PostgreSQL, and their twin in memory."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotswap.errors import BadRequest
from lineage.errors import KeyReused, PathTaken
from lineage.paths import folder_of, path_of
from lineage.record_store import ImageRecordStore
from lineage.records import ImageRecord, ProcessingStatus
from tests.support.captures import NOON, a_capture, a_record, a_run, something

Again = Callable[[], ImageRecordStore]
ROUNDS = 150


def test_what_one_wrote_the_other_reads_the_same(records: ImageRecordStore, again: Again) -> None:
    capture = a_capture(
        filename="Vögel ✓.jpg",
        idempotency_key="k-1",
        clock_offset_ms=-250,
        metadata={"weather": {"wind": 0.1, "rain": None}, "tags": ["a", 1, True]},
    )
    found = (something(confidence=0.3), something(confidence=0.9, label="ptak", metadata={"track": 7}))
    run = a_run(text_prompt="bird", duration_ms=1 / 3)
    saved = records.save(a_record(capture, found=found, run=run, is_flagged=True, commit_id="c0"))
    assert [one.confidence for one in saved.found] == [0.9, 0.3]
    other = again()
    assert other.image(capture.image_id) == other.find(capture) == saved
    assert saved.capture == capture
    assert saved.run == run.model_copy(update={"duration_ms": 0.333333})
    assert other.image(uuid4()) is None


def test_numbers_of_a_retry_are_those_of_the_first_answer(records: ImageRecordStore) -> None:
    """As floats of four bytes come out of a model; PostgreSQL keeps four bytes, SQLite eight."""
    odd = something(confidence=0.8999999761581421, bbox=(1e-7, 0.12345678901, 0.333333343, 0.99999999))
    saved = records.save(a_record(found=(odd,)))
    assert records.find(a_capture()) == saved
    assert saved.found[0].confidence == 0.9
    assert saved.found[0].bbox == (1e-7, 0.123457, 0.333333, 1.0)


def test_a_picture_that_failed_has_no_run(records: ImageRecordStore) -> None:
    saved = records.save(a_record(status=ProcessingStatus.FAILED, run=None, processed_at=None))
    assert (saved.found, saved.run) == ((), None)
    assert records.image(saved.image_id) == saved


def test_a_hand_in_is_stored_once_whatever_else_comes_with_it(records: ImageRecordStore) -> None:
    first = records.save(a_record())
    again = a_record(path="images/elsewhere.jpg", found=(), run=a_run(model_version="v3"))
    assert records.save(again) == first
    assert records.save(a_record(a_capture(idempotency_key="late"))) == first
    assert records.image(first.image_id) == first
    assert records.path_holder("images/elsewhere.jpg") is None


def test_the_key_finds_the_picture_also_with_another_moment(records: ImageRecordStore) -> None:
    first = records.save(a_record(a_capture(1, idempotency_key="k")))
    later = a_capture(1, idempotency_key="k", captured_at=NOON + timedelta(hours=1))
    assert records.find(later) == first
    assert records.save(a_record(later)) == first
    assert records.image(later.image_id) is None


def test_the_key_of_another_picture_is_refused_and_nothing_stored(records: ImageRecordStore) -> None:
    records.save(a_record(a_capture(1, idempotency_key="k")))
    other = a_capture(2, idempotency_key="k")
    with pytest.raises(KeyReused):
        records.find(other)
    with pytest.raises(KeyReused):
        records.save(a_record(other))
    assert records.image(other.image_id) is None


def test_each_device_has_keys_and_moments_of_its_own(records: ImageRecordStore) -> None:
    for device in ("cam-1", "cam-2"):
        records.save(a_record(a_capture(1, device=device, idempotency_key="k")))
    for device in ("cam-1", "cam-2"):
        standing = records.find(a_capture(1, device=device))
        assert standing is not None
        assert standing.capture.device_id == device


@pytest.mark.parametrize("key", ["", "k" * 256, "k\0", "\ud800"], ids=["empty", "long", "nul", "half"])
def test_a_key_that_no_record_can_have_is_refused(records: ImageRecordStore, key: str) -> None:
    capture = a_capture(idempotency_key=key)
    for refused in (lambda: records.find(capture), lambda: records.save(a_record(capture))):
        with pytest.raises(BadRequest):
            refused()
    assert records.image(capture.image_id) is None


def test_what_does_not_fit_is_made_to(records: ImageRecordStore) -> None:
    half = "\ud800"
    capture = a_capture(
        filename=f"{half}{'é' * 300}\0",
        clock_offset_ms=10**15,
        metadata={"nan": float("nan"), "in": [float("inf")], "nul\0": f"\0{half}", "id": uuid4()},
    )
    wild = something(label="b" * 500, confidence=1.7, bbox=(-0.1, float("nan"), 1.2, 5e-324))
    run = a_run(
        model_name="m" * 200,
        model_version="v" * 60,
        duration_ms=1e300,
        config={"x": (1, 2)},
        error_message="e\0" * 5_000,
        status="timeout",
        text_prompt="bird\0",
    )
    saved = records.save(a_record(capture, found=(wild,), run=run))
    assert records.find(capture) == saved
    assert (saved.found[0].confidence, saved.found[0].bbox[:3]) == (1.0, (0.0, 0.0, 1.0))
    assert len(saved.found[0].label) == 100
    assert saved.capture.filename is not None
    assert len(saved.capture.filename) == 255
    assert saved.capture.metadata["nan"] is None
    assert saved.run is not None
    assert (len(saved.run.model_version), saved.run.config, saved.run.text_prompt) == (
        50,
        {"x": [1, 2]},
        "bird",
    )


_TEXTS = st.text(st.characters(exclude_categories=()), max_size=300)
_FLOATS = st.floats(allow_nan=True, allow_infinity=True)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | _FLOATS | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.tuples(_TEXTS, _TEXTS, _TEXTS),
    box=st.tuples(_FLOATS, _FLOATS, _FLOATS, _FLOATS),
    confidence=_FLOATS,
    metadata=st.dictionaries(_TEXTS, _JSON, max_size=3),
)
def test_whatever_a_device_sends_or_a_model_says_is_kept_and_read_the_same(
    records: ImageRecordStore,
    texts: tuple[str, str, str],
    box: tuple[float, float, float, float],
    confidence: float,
    metadata: dict[str, object],
) -> None:
    capture = a_capture(sha256=uuid4().hex * 2, filename=texts[0], metadata=metadata)
    found = something(label=texts[1], bbox=box, confidence=confidence, metadata=metadata)
    run = a_run(text_prompt=texts[2], error_message=texts[0], config=metadata, duration_ms=confidence)
    saved = records.save(a_record(capture, found=(found,), run=run))
    assert records.find(capture) == saved
    assert all(0 <= value <= 1 for value in (*saved.found[0].bbox, saved.found[0].confidence))


def test_a_path_belongs_to_one_picture(records: ImageRecordStore) -> None:
    first = records.save(a_record(a_capture(1)))
    assert records.path_holder(first.path) == first.image_id
    with pytest.raises(PathTaken):
        records.save(a_record(a_capture(2), path=first.path))
    assert records.image(a_capture(2).image_id) is None
    records.save(a_record(a_capture(2)))


def test_completed_pictures_wait_for_their_commit_the_oldest_first(records: ImageRecordStore) -> None:
    saved = [records.save(a_record(a_capture(number))) for number in (3, 1, 2)]
    records.save(a_record(a_capture(4), status=ProcessingStatus.FAILED, run=None))
    records.save(a_record(a_capture(5), commit_id="before"))
    oldest = [saved[1], saved[2], saved[0]]
    waiting = records.uncommitted(10)
    assert [(one.image_id, one.path) for one in waiting] == [(one.image_id, one.path) for one in oldest]
    assert [(one.device_id, one.uploaded_at) for one in records.uncommitted(1)] == [
        ("cam-1", oldest[0].uploaded_at)
    ]
    records.committed([one.image_id for one in oldest[:2]], "c1")
    assert [one.image_id for one in records.uncommitted(10)] == [oldest[2].image_id]
    records.committed([one.image_id for one in oldest], "c2")
    commits = [records.image(one.image_id) for one in oldest]
    assert [one.commit_id for one in commits if one] == ["c1", "c1", "c2"]
    records.committed([uuid4()], "c3")
    records.committed([], "c3")


@pytest.mark.slow
def test_many_pictures_have_one_commit(records: ImageRecordStore) -> None:
    saved = [records.save(a_record(a_capture(number), found=())) for number in range(60)]
    records.committed([one.image_id for one in saved] + [uuid4() for _ in range(1_200)], "c1")
    assert records.uncommitted(10) == []


def test_a_folder_has_the_pictures_of_one_device_and_day(records: ImageRecordStore) -> None:
    day = [
        records.save(a_record(a_capture(number, captured_at=moment)))
        for number, moment in enumerate((NOON, NOON.replace(hour=0), NOON.replace(hour=23, minute=59)))
    ]
    for number, hours in ((5, 12), (6, -13)):
        records.save(a_record(a_capture(number, captured_at=NOON + timedelta(hours=hours))))
    records.save(a_record(a_capture(1, device="cam-11")))
    folder = folder_of(day[0].capture)
    assert list(records.folder(folder)) == [day[1], day[0], day[2]]
    for none in (
        "images/cam-1/2026-11-27",
        "images/cam-1",
        "images/cam-1/today",
        "other/cam-1/2026-11-29",
        "",
    ):
        assert list(records.folder(none)) == []


@pytest.mark.parametrize("seconds", [1, 7])
def test_a_day_of_many_pictures_is_in_the_order_of_its_paths(records: ImageRecordStore, seconds: int) -> None:
    captures = [
        a_capture(number, captured_at=NOON + timedelta(seconds=number % seconds, microseconds=number))
        for number in range(520)
    ]
    saved = [records.save(a_record(capture, found=())) for capture in captures]
    folder = folder_of(captures[0])
    assert [one.path for one in records.folder(folder)] == sorted(one.path for one in saved)


def test_a_task_has_one_holder_at_a_time(records: ImageRecordStore, again: Again) -> None:
    other = again()
    assert records.hold("retention", "a", 60)
    assert records.hold("retention", "a", 60), "it is kept"
    assert not other.hold("retention", "b", 60)
    assert other.hold("commits", "b", 60), "another task is free"
    assert records.hold("retention", "a", 0)
    assert other.hold("retention", "b", 60), "it was given back"
    assert not records.hold("retention", "a", 60)
    assert other.hold("retention", "b", -1)
    assert records.hold("retention", "a", 60), "its time is over"


def test_a_task_that_many_ask_for_at_once_goes_to_one(again: Again) -> None:
    stores = [again() for _ in range(4)]
    start = Barrier(4)

    def ask(number: int) -> bool:
        start.wait(30)
        return stores[number].hold("t", f"holder-{number}", 60)

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(ask, range(4))) == 1


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_two_that_save_the_same_hand_in_at_once_write_one(again: Again) -> None:
    """With and without a key, and with a path of their own each; what both are told is the same."""
    stores, start = [again(), again()], Barrier(2)

    def save(number: int) -> list[ImageRecord]:
        told = []
        for count in range(ROUNDS):
            capture = a_capture(count, idempotency_key=f"k{count}" if count % 2 else None)
            record = a_record(capture, path=path_of(capture, 8 + 8 * number), found=(something(),))
            start.wait(30)
            told.append(stores[number].save(record))
        return told

    with ThreadPoolExecutor(2) as threads:
        one, two = threads.map(save, (0, 1))
    assert one == two
    assert len({record.image_id for record in one}) == ROUNDS
    assert [stores[0].image(record.image_id) for record in one] == one
    assert len(stores[0].uncommitted(2 * ROUNDS)) == ROUNDS
