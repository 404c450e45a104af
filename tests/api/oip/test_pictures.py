"""Pictures by the protocol over HTTP, as `/predict` answers them."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from tests.api.oip.asking import document, failed, infer, outputs, pictures
from tests.e2e.harness import ROOT, Service
from tests.e2e.pictures import picture
from tests.e2e.sizes import LIMIT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT)]

JPEG = picture()
SHAPES = sorted((ROOT / "examples/shapes/pictures").glob("*.jpg"))[:3]


def test_pictures_are_answered_as_predict_answers_them(v2: Service) -> None:
    images = [file.read_bytes() for file in SHAPES]
    found = outputs(infer(v2, pictures(*images), model="shapes", parameters={"threshold": 0.4}))
    assert list(found) == ["num_detections", "boxes", "scores", "label_ids", "labels"]
    told = [v2.predict(image, model="shapes", threshold="0.4").json()["detections"] for image in images]
    most = max(map(len, told))
    assert most > 1
    assert found["num_detections"] == [len(each) for each in told]
    boxes = np.array(found["boxes"]).reshape(3, most, 4)
    scores = np.array(found["scores"]).reshape(3, most)
    ids, labels = np.array(found["label_ids"]).reshape(3, most), np.array(found["labels"]).reshape(3, most)
    for row, detections in enumerate(told):
        count = len(detections)
        assert np.allclose(boxes[row, :count], [each["bbox"] for each in detections], atol=1e-6)
        assert np.allclose(scores[row, :count], [each["score"] for each in detections], atol=1e-6)
        assert ids[row].tolist() == [each["label_id"] for each in detections] + [-1] * (most - count)
        assert labels[row].tolist() == [each["label"] for each in detections] + [""] * (most - count)


def test_pictures_obey_threshold_and_max_detections(v2: Service) -> None:
    sent = pictures(SHAPES[0].read_bytes())
    few = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 0.0, "max_detections": 2}))
    assert few["num_detections"] == [2]
    none = outputs(infer(v2, sent, model="shapes", parameters={"threshold": 1.0}))
    assert (none["num_detections"], none["boxes"]) == ([0], [])
    for wrong in ({"threshold": 1.5}, {"threshold": "x"}, {"max_detections": 0}, {"max_detections": 1.5}):
        failed(infer(v2, sent, model="shapes", parameters=wrong), 400)


def test_pictures_of_an_embedder_become_vectors(v2: Service) -> None:
    found = document(infer(v2, pictures(JPEG, JPEG), model="embed"))["outputs"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in found] == [
        ("embedding", "FP32", [2, 2])
    ]
    assert np.allclose(found[0]["data"], v2.predict(model="embed").json()["embedding"] * 2, atol=1e-6)


def test_too_many_pictures_are_told_how_many_there_may_be(v2: Service) -> None:
    assert len(outputs(infer(v2, pictures(*[JPEG] * 32)))["labels"]) == 32
    assert "32" in failed(infer(v2, pictures(*[JPEG] * 33)), 400)
    for wrong in ({"shape": [1, 1]}, {"shape": [0], "data": []}, {"data": [""]}, {"data": ["not base64!"]}):
        failed(infer(v2, pictures(JPEG) | wrong), 400)


def test_base64_may_have_line_breaks(v2: Service) -> None:
    broken = base64.encodebytes(JPEG).decode()
    assert outputs(infer(v2, pictures(JPEG) | {"data": [broken]})) == outputs(infer(v2, pictures(JPEG)))
