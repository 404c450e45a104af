"""Checks without labels, on a scripted detector that follows its picture, or does not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.evidence import AnswersCheck
from evaluation.metamorphic import RELATIONS, AgreementCheck, MetamorphicCheck, mirrored, shifted
from hotswap.errors import ModelFailed
from hotswap.gate import Result, Version
from hotswap.predictions import Detection, Options, Picture, Prediction, Predictions, Timings
from manifest.tags import ModelTag
from manifest.version_manifest import GateConfig, GoldenPicture
from runners.check_images import pixels_of
from tests.evaluation.test_gate_checks import config
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact

Pixels = NDArray[np.uint8]
Find = Callable[[Pixels], list[Detection]]


def squares(places: Sequence[tuple[int, int]]) -> bytes:
    """A grey picture of 100x100 with white squares of 20 pixels."""
    pixels = np.full((100, 100, 3), 60, np.uint8)
    for x, y in places:
        pixels[y : y + 20, x : x + 20] = 200
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def bright(pixels: Pixels) -> list[Detection]:
    """Finds the bright squares, wherever they are: each run of bright columns is one."""
    columns = np.flatnonzero((pixels[..., 0] > 130).any(axis=0))
    found = []
    for run in np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1):
        if len(run) > 5:
            rows = np.flatnonzero((pixels[:, run, 0] > 130).any(axis=1))
            box = (run[0] / 100, rows[0] / 100, (run[-1] + 1) / 100, (rows[-1] + 1) / 100)
            found.append(Detection("cat", 0, 0.9, box))
    return found


def constant(_: Pixels) -> list[Detection]:
    return [Detection("cat", 0, 0.9, (0.1, 0.1, 0.3, 0.3))]


def dogs(pixels: Pixels) -> list[Detection]:
    return [replace(each, label="dog") for each in bright(pixels)]


def fails(_: Pixels) -> list[Detection]:
    raise ModelFailed("output scores holds NaN or infinity")


class Scripted(FakeRunner):
    """Finds in a picture what a function finds in its pixels."""

    def __init__(self, find: Find) -> None:
        super().__init__(ModelTag("m", "v2"), 2)
        self._find = find

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        least = options.threshold or 0.0
        items = []
        for picture in pictures:
            found = self._find(pixels_of(picture, (100, 100), 10**6))
            items.append(Prediction(tuple(each for each in found if each.score >= least), "v2", 100, 100))
        return Predictions(tuple(items), Timings())


PLACES = [
    [(10, 60), (50, 5)],
    [(5, 10), (40, 50), (72, 20)],
    [(20, 40), (60, 60)],
    [(3, 3), (30, 30), (60, 75)],
]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Version]:
    """A version that finds something, with four check pictures that say nothing of what is expected."""
    for number, places in enumerate(PLACES):
        (tmp_path / f"{number}.png").write_bytes(squares(places))

    def version(find: Find, name: str = "v2", pictures: int = 4, **gate: Any) -> Version:
        golden = [GoldenPicture(file=f"{number}.png") for number in range(pictures)]
        made = config().model_copy(update={"golden": golden, "gate": GateConfig(**gate)})
        return Version(replace(artifact(ModelTag("m", name)), path=tmp_path, config=made), Scripted(find))

    return version


def test_boxes_move_with_the_picture() -> None:
    assert mirrored((0.1, 0.2, 0.4, 0.5)) == pytest.approx((0.6, 0.2, 0.9, 0.5))
    assert shifted((0.1, 0.2, 0.99, 0.5)) == pytest.approx((0.14, 0.24, 1.0, 0.54))


@pytest.mark.parametrize("name", RELATIONS)
def test_a_detector_that_sees_follows_each_change(name: str) -> None:
    pixels = pixels_of(Picture(encoded=squares(PLACES[0])), (100, 100), 10**6)
    relation = RELATIONS[name]
    moved = [relation.move(each.bbox) for each in bright(pixels) if each.bbox]
    after = bright(pixels_of(relation.change(pixels), (100, 100), 10**6))
    assert sorted(each.bbox[0] for each in after if each.bbox) == pytest.approx(
        sorted(box[0] for box in moved), abs=0.011
    )


def test_findings_that_do_not_follow_are_refused_beside_a_version_whose_do(
    make: Callable[..., Version],
) -> None:
    check = MetamorphicCheck()
    assert check.judge(make(bright, "v1"), make(bright)).result is Result.PASS
    verdict = check.judge(make(bright, "v1"), make(constant))
    assert verdict.result is Result.FAIL
    assert "0 of 8 findings follow when a picture is mirrored, with m:v1 10 of 10" in verdict.reason
    assert check.judge(make(constant, "v1"), make(constant)).result is Result.PASS
    assert check.judge(None, make(constant)).result is Result.PASS


def nothing(_: Pixels) -> list[Detection]:
    return []


@pytest.mark.parametrize(("find", "pictures"), [(nothing, 4), (bright, 1)])
def test_too_few_findings_cannot_show_whether_they_follow(
    make: Callable[..., Version], find: Find, pictures: int
) -> None:
    verdict = MetamorphicCheck().judge(make(bright, "v1", pictures), make(find, pictures=pictures))
    assert verdict.result is Result.INCONCLUSIVE
    assert verdict.numbers["pictures_needed"] >= 1


def test_a_version_that_disagrees_is_refused_with_the_count(make: Callable[..., Version]) -> None:
    check = AgreementCheck()
    assert check.judge(make(bright, "v1"), make(bright)).result is Result.PASS
    verdict = check.judge(make(bright, "v1"), make(dogs))
    assert (verdict.result, verdict.numbers["alike"]) == (Result.FAIL, 0)
    assert "agrees with m:v1 on 0 of 20 objects in 4 pictures; 50% are needed" in verdict.reason


def test_too_few_pictures_decide_nothing_and_it_says_how_many_are_lacking(
    make: Callable[..., Version],
) -> None:
    verdict = AgreementCheck().judge(make(bright, "v1"), make(bright, pictures=1, agreement=0.9))
    # Those of the version before count, too.
    assert (verdict.result, verdict.numbers["pictures"]) == (Result.INCONCLUSIVE, 4)
    assert verdict.numbers["pictures_needed"] == 6
    assert "about 6 more pictures" in verdict.reason


def test_expectations_are_the_truth_and_agreement_is_reported_alone(make: Callable[..., Version]) -> None:
    candidate = make(dogs)
    labelled = [GoldenPicture(file="0.png", expected=[])]
    expecting = candidate.artifact.config.model_copy(update={"golden": labelled})
    candidate = replace(candidate, artifact=replace(candidate.artifact, config=expecting))
    verdict = AgreementCheck().judge(make(bright, "v1"), candidate)
    assert (verdict.result, verdict.numbers["share"]) == (Result.PASS, 0.0)


def test_what_answers_all_pictures_alike_is_refused_beside_a_version_that_does_not(
    make: Callable[..., Version],
) -> None:
    check = AnswersCheck()
    assert check.judge(make(bright, "v1"), make(bright)).result is Result.PASS
    verdict = check.judge(make(bright, "v1"), make(constant))
    assert verdict.result is Result.FAIL
    assert "the answer is the same for all 4 pictures; m:v1 answers them differently" in verdict.reason
    assert check.judge(make(constant, "v1"), make(constant)).result is Result.PASS
    assert check.judge(None, make(constant)).result is Result.INCONCLUSIVE
    # Without pictures it is asked about generated ones.
    assert check.judge(make(bright, "v1", pictures=0), make(constant, pictures=0)).result is Result.FAIL


def test_what_cannot_answer_a_picture_is_refused_with_the_reason(make: Callable[..., Version]) -> None:
    verdict = AnswersCheck().judge(None, make(fails))
    assert verdict.result is Result.FAIL
    assert verdict.reason == "it cannot answer 0.png: output scores holds NaN or infinity"
