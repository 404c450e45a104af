"""What people say about answers, on both databases."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from adapters.sql.database import Database
from adapters.sql.sql_annotations import SqlAnnotations
from hotswap.errors import BadRequest
from lineage.annotations import Annotation, AnnotationType
from tests.support.archive import NOW, Picture, fill, tell

PICTURE = Picture("one", found=(0.9, 0.4))
OTHER = Picture("other", found=(0.5,))
BOX = (0.1, 0.2, 0.3, 0.4)


@pytest.fixture
def store(database: Database) -> SqlAnnotations:
    """Two pictures about which nothing was said."""
    fill(database, [PICTURE, OTHER])
    return SqlAnnotations(database)


GOOD = [
    Annotation(PICTURE.id, AnnotationType.FALSE_POSITIVE, PICTURE.detection(0)),
    Annotation(PICTURE.id, AnnotationType.MISSED_DETECTION),
    Annotation(PICTURE.id, AnnotationType.MISSED_DETECTION, bbox=BOX, label="wren", notes="left of the nest"),
    Annotation(PICTURE.id, AnnotationType.INCORRECT_BBOX, PICTURE.detection(1), bbox=(0.0, 0.0, 1.0, 1.0)),
    Annotation(PICTURE.id, AnnotationType.WRONG_LABEL, PICTURE.detection(1), label="robin", annotator="ann"),
]


@pytest.mark.parametrize("annotation", GOOD)
def test_what_was_said_is_kept_as_it_was_said(store: SqlAnnotations, annotation: Annotation) -> None:
    store.add(annotation, NOW)
    assert store.of(PICTURE.id) == [annotation]
    assert store.of(OTHER.id) == []


def test_all_in_the_order_in_which_they_were_said(store: SqlAnnotations) -> None:
    ids = {store.add(each, NOW + timedelta(seconds=n)) for n, each in enumerate(GOOD)}
    assert store.of(PICTURE.id) == GOOD
    assert len(ids) == len(GOOD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": AnnotationType.FALSE_POSITIVE},
        {"type": AnnotationType.MISSED_DETECTION, "detection_id": uuid4()},
        {"type": AnnotationType.INCORRECT_BBOX, "detection_id": uuid4()},
        {"type": AnnotationType.WRONG_LABEL, "detection_id": uuid4()},
        {"type": AnnotationType.MISSED_DETECTION, "bbox": (0.3, 0.2, 0.1, 0.4)},
        {"type": AnnotationType.MISSED_DETECTION, "bbox": (0.1, 0.2, 0.3, 1.01)},
        {"type": AnnotationType.MISSED_DETECTION, "bbox": (math.nan, 0.2, 0.3, 0.4)},
        {"type": AnnotationType.MISSED_DETECTION, "label": " "},
        {"type": AnnotationType.MISSED_DETECTION, "label": "x" * 101},
        {"type": AnnotationType.MISSED_DETECTION, "annotator": ""},
        {"type": AnnotationType.MISSED_DETECTION, "notes": "\0"},
    ],
)
def test_what_lacks_something_is_refused_when_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        Annotation(PICTURE.id, **wrong)


@pytest.mark.parametrize(
    "annotation",
    [
        Annotation(uuid4(), AnnotationType.MISSED_DETECTION),
        Annotation(PICTURE.id, AnnotationType.FALSE_POSITIVE, OTHER.detection(0)),
        Annotation(PICTURE.id, AnnotationType.FALSE_POSITIVE, uuid4()),
    ],
)
def test_what_is_about_nothing_that_is_there_is_refused(
    store: SqlAnnotations, database: Database, annotation: Annotation
) -> None:
    with pytest.raises(BadRequest):
        store.add(annotation, NOW)
    assert tell(database, "SELECT count(*) FROM data_annotations")[0][0] == 0


def test_a_flag_is_set_and_taken_away(store: SqlAnnotations, database: Database) -> None:
    for is_flagged in (True, True, False):
        store.flag(PICTURE.id, is_flagged=is_flagged)
        flagged = tell(database, "SELECT count(*) FROM images WHERE is_flagged")
        assert flagged[0][0] == int(is_flagged)
    with pytest.raises(BadRequest):
        store.flag(uuid4(), is_flagged=True)
