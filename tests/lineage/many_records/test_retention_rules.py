"""Which pictures retention takes, in which order, as pure rules over pages of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.retention import Choice, Place, Reason, Removal, RetentionRules, StorageUse, StoredPicture, Worth
from tests.support.archive import NOW

RULES = RetentionRules(days=90, most_bytes=1000, warning_bytes=850)


class Pages:
    """Pictures in memory, in the order of age."""

    def __init__(self, *pictures: StoredPicture) -> None:
        self.pictures = sorted(pictures, key=lambda each: each.place)
        self.looks = 0

    def use(self) -> StorageUse:
        return StorageUse(len(self.pictures), sum(each.size for each in self.pictures))

    def page(self, after: Place | None, before: datetime | None, limit: int) -> Sequence[StoredPicture]:
        self.looks += 1
        behind = [each for each in self.pictures if after is None or each.place > after]
        return [each for each in behind if before is None or each.accepted_at < before][:limit]


def _picture(
    number: int, days: float, size: int = 100, confidence: float | None = None, **marks: bool
) -> StoredPicture:
    return StoredPicture(UUID(int=number), f"{number}", NOW - timedelta(days=days), size, confidence, **marks)


def _chosen(pages: Pages, rules: RetentionRules = RULES, disk_short: int = 0) -> list[tuple[int, Reason]]:
    choice = Choice(pages, rules, NOW, disk_short)
    return [(each.picture.image_id.int, each.reason) for page in choice.removals() for each in page]


@pytest.mark.parametrize(
    ("picture", "worth"),
    [
        (_picture(1, 1), Worth.EMPTY),
        (_picture(1, 1, confidence=0.79), Worth.LOW),
        (_picture(1, 1, confidence=0.8), Worth.HIGH),
        (_picture(1, 1, is_flagged=True), Worth.HIGH),
        (_picture(1, 1, confidence=0.3, is_annotated=True), Worth.HIGH),
        (_picture(1, 1, confidence=0.9, is_flagged=True, is_held=True), Worth.HELD),
    ],
)
def test_the_worth_of_a_picture(picture: StoredPicture, worth: Worth) -> None:
    assert picture.worth is worth


def test_by_age_goes_what_is_too_old_and_not_worth_keeping() -> None:
    pages = Pages(
        _picture(1, 91),
        _picture(2, 200, confidence=0.5),
        _picture(3, 89),
        _picture(4, 91, confidence=0.8),
        _picture(5, 91, is_flagged=True),
        _picture(6, 91, is_annotated=True),
        _picture(7, 91, is_held=True),
    )
    assert _chosen(pages) == [(2, Reason.AGE), (1, Reason.AGE)]


def test_by_size_the_least_worth_goes_first_and_in_each_class_the_oldest() -> None:
    pages = Pages(
        _picture(1, 80, confidence=0.9),
        _picture(2, 70, confidence=0.5),
        _picture(3, 60),
        _picture(4, 50),
        _picture(5, 85, confidence=0.3),
        _picture(6, 10, is_flagged=True),
        _picture(7, 89, is_held=True),
    )
    order = [3, 4, 5, 2, 1, 6]
    for goes in range(7):
        rules = RetentionRules(days=90, most_bytes=(700 - 100 * goes) * 100 // 95 + 1)
        assert [number for number, _ in _chosen(pages, rules)] == order[:goes]


def test_nothing_goes_below_the_aim_which_leaves_room_for_what_comes() -> None:
    assert RULES.aim == 950
    assert _chosen(Pages(_picture(1, 1, size=950))) == []
    assert _chosen(Pages(_picture(1, 1, size=951))) == [(1, Reason.SIZE)]


def test_what_goes_by_age_counts_for_the_size() -> None:
    pages = Pages(_picture(1, 91, size=300), _picture(2, 50, size=900))
    assert _chosen(pages) == [(1, Reason.AGE)]


def test_a_disk_that_lacks_bytes_takes_them_below_the_limit() -> None:
    pages = Pages(_picture(1, 5), _picture(2, 4), _picture(3, 3))
    assert _chosen(pages, disk_short=101) == [(1, Reason.SIZE), (2, Reason.SIZE)]


def test_without_a_number_of_days_nothing_is_too_old() -> None:
    assert _chosen(Pages(_picture(1, 10_000)), RetentionRules(days=None)) == []


def test_what_has_become_worth_keeping_since_no_longer_goes_by_age() -> None:
    choice = Choice(Pages(old := _picture(1, 91)), RULES, NOW)
    (removal,) = next(iter(choice.removals()))
    assert choice.still_goes(removal)
    for mark in ("is_flagged", "is_annotated", "is_held"):
        assert not choice.still_goes(Removal(replace(old, **{mark: True}), Reason.AGE))
    assert choice.still_goes(Removal(replace(old, is_flagged=True), Reason.SIZE))
    assert not choice.still_goes(Removal(replace(old, is_held=True), Reason.SIZE))


def test_looks_end_when_enough_is_found() -> None:
    pages = Pages(*(_picture(number, 80 - number / 1000, size=1) for number in range(5000)))
    assert len(_chosen(pages, RetentionRules(days=90, most_bytes=5200))) == 60
    assert pages.looks == 2  # one finds nothing too old


_PICTURES = st.builds(
    lambda days, size, confidence, marks: (days, size, confidence, marks),
    st.integers(0, 200),
    st.integers(1, 50),
    st.none() | st.floats(0, 1),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)


@pytest.mark.slow
@given(st.lists(_PICTURES, max_size=30), st.integers(1, 1000))
def test_what_is_left_fits_unless_only_data_sets_are_left(
    facts: list[tuple[int, int, float | None, tuple[bool, bool, bool]]], most: int
) -> None:
    pictures = [
        _picture(
            n, days, size, found, is_flagged=marks[0], is_annotated=marks[1], is_held=marks[2] and n % 3 == 0
        )
        for n, (days, size, found, marks) in enumerate(facts)
    ]
    rules = RetentionRules(days=90, most_bytes=most)
    chosen = _chosen(Pages(*pictures), rules)
    gone = {number for number, _ in chosen}
    left = [each for each in pictures if each.image_id.int not in gone]
    assert len(gone) == len(chosen)
    assert sum(each.size for each in left) <= rules.aim or {each.worth for each in left} == {Worth.HELD}
    by_size = [pictures[number].worth for number, reason in chosen if reason is Reason.SIZE]
    assert by_size == sorted(by_size)
    assert Worth.HELD not in by_size
