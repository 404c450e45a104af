"""The family that gives each picture a vector."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotswap.errors import ModelFailed
from hotswap.predictions import Options, Picture
from manifest.version_manifest import BadManifest, parse_config
from runners.families.index import family_of
from runners.geometry import place
from tests.data import need_data
from tests.runners import golden
from tests.runners.graphs import CLASSIFIER, SHAPES, constant_graph, load

WHOLE = place("stretch", (8, 8), (8, 8))
EMBEDDER = {"task": "image-embedding", "family": "embedder", "input": {"width": 8, "height": 8}}
DIMENSIONS = {"mobilenet_v1_embed": 1024, "mobilenet_v2_imagenet": 1280}


def _vector(values, **parameters):
    family = family_of(parse_config(json.dumps(EMBEDDER | {"output": {"parameters": parameters}})))
    outputs = {"out": np.array(values, dtype=np.float32)}
    family.check(outputs)
    return family.find(outputs, WHOLE, Options()).embedding


def test_a_vector_has_length_one_unless_told_otherwise():
    assert _vector([3, 4]).tolist() == pytest.approx([0.6, 0.8])
    assert _vector([3, 4], l2=False).tolist() == [3, 4]
    assert _vector([3, 4]).dtype == np.float32


@pytest.mark.parametrize(
    ("values", "parameters", "vector"),
    [
        ([[[3]], [[4]]], {}, [3, 4]),
        ([[[3, 4]]], {}, [3, 4]),
        ([[1, 2], [3, 4], [5, 0]], {"pooling": "first"}, [1, 2]),
        ([[1, 2], [3, 4], [5, 0]], {"pooling": "mean"}, [3, 2]),
    ],
)
def test_rows_are_pooled_as_told(values, parameters, vector):
    assert _vector(values, l2=False, **parameters).tolist() == vector


@pytest.mark.parametrize(
    ("values", "parameters", "why"),
    [
        ([[1, 2], [3, 4]], {}, "pooling"),
        ([1, 2], {"pooling": "mean"}, "rows"),
        ([1, 2], {"dimension": 3}, "3 values, found 2"),
        ([[1, 2]], {"pooling": "first", "dimension": 1}, "1 values, found 2"),
        ([], {}, "found"),
    ],
)
def test_another_shape_is_refused(values, parameters, why):
    with pytest.raises(ModelFailed, match=why):
        _vector(values, **parameters)


def test_a_vector_without_direction_is_refused():
    with pytest.raises(ModelFailed, match="zero"):
        _vector([0, 0])
    assert _vector([0, 0], l2=False).tolist() == [0, 0]


def test_only_what_finds_labels_must_list_them():
    family_of(parse_config(json.dumps(EMBEDDER)))
    for config in (CLASSIFIER, SHAPES):
        with pytest.raises(BadManifest, match="labels"):
            family_of(parse_config(json.dumps(config | {"labels": []})))


def test_a_runner_answers_with_a_vector_and_no_detections(tmp_path):
    runner = load(tmp_path, constant_graph({"vector": np.array([3.0, 4.0])}), EMBEDDER)
    runner.check()
    (prediction,) = runner.predict([Picture(pixels=np.zeros((8, 8, 3), np.uint8))], Options()).items
    assert prediction.detections == ()
    assert prediction.embedding.tolist() == pytest.approx([0.6, 0.8])


@pytest.fixture(scope="module")
def data():
    return need_data()


@pytest.fixture(scope="module", params=DIMENSIONS)
def vectors(data, request):
    """Each reference picture's item and the vector that the service's runner gives for it."""
    output = {"names": ["embedding"], "parameters": {"dimension": DIMENSIONS[request.param]}}
    given = golden.input_of(data, request.param)
    config = parse_config(json.dumps(EMBEDDER | {"input": given, "output": output}))
    file = golden.reference_entry(data, request.param)["file"]
    runner = golden.load_model(data / "models" / file, config)
    runner.check()
    items = json.loads((data / "golden" / "embedding.json").read_bytes())["items"]
    chosen = [item for item in items if item["model"] == request.param]
    return [(item, golden.answer(runner, data / item["image"]).embedding) for item in chosen]


@pytest.mark.slow
def test_vectors_are_those_of_the_reference(vectors):
    assert len(vectors) == 30
    for item, vector in vectors:
        assert vector.shape == (item["dim"],)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        assert vector[:8].tolist() == pytest.approx(item["first_8_normalised"], abs=0.001)


def test_nearest_pictures_are_those_of_the_reference(vectors):
    table = np.stack([vector for _, vector in vectors])
    images = [item["image"] for item, _ in vectors]
    for (item, vector), cosines in zip(vectors, table @ table.T, strict=True):
        order = [images[i] for i in np.argsort(-cosines) if images[i] != item["image"]]
        wanted = item["nearest_in_this_file"]
        assert order[: len(wanted)] == [one["image"] for one in wanted]
        found = [float(vector @ table[images.index(one["image"])]) for one in wanted]
        assert found == pytest.approx([one["cosine"] for one in wanted], abs=0.002)
