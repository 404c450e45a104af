"""Families with prompts are swapped while they are asked: every answer is that of the version it names.

What a version keeps (SAM the encoder's results, CLIP the vectors of texts, Grounding DINO the tokens) must
never answer for another one, so the part whose result is kept differs between the versions.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from api.options import options
from hotswap.predictions import Picture
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from models_import.candidates import Candidate, Wanted
from models_import.importer import Importer
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from tests.e2e.harness import Service
from tests.e2e.load import Ask, Load
from tests.e2e.reporting import services
from tests.e2e.sizes import FULL_SIZE, LIMIT
from tests.e2e.test_families import MODELS
from tests.runners.pictures import encode, smooth
from tests.runners.references import Reference

pytestmark = [pytest.mark.e2e, pytest.mark.full, pytest.mark.timeout(4 * LIMIT)]

#: The graph whose last weights differ in v2, and what is asked.
CHANGED: Mapping[str, str] = {
    "dino": "model.onnx",
    "sam": "vision_encoder.onnx",
    "clip": "text_model.onnx",
}
QUERIES: Mapping[str, list[dict[str, str]]] = {
    "dino": [
        {"text_prompt": prompt, "box_threshold": "0", "max_detections": "3"}
        for prompt in ("bird .", "red cat . fox .")
    ],
    "sam": [{"points": json.dumps([[x, y, 1]])} for x, y in ((0.3, 0.4), (0.7, 0.2), (0.5, 0.9))],
    "clip": [{"text_prompt": prompt} for prompt in ("a bird . a cat .", "snow . sand . sea .")],
}
#: Grounding DINO takes seconds for each answer: it is swapped at full size.
NAMES = tuple(name for name in MODELS if FULL_SIZE or name != "dino")
#: Requests of each model while its three versions in turn serve.
LEAST = {"dino": 60, "sam": 150, "clip": 2000} if FULL_SIZE else {"dino": 24, "sam": 30, "clip": 300}
PICTURES = [encode(smooth(64, 48), "PNG"), encode(smooth(40, 60)[::-1].copy(), "PNG")]
#: Scores of one version agree to this; of two they differ by more.
CLOSE, APART = 1e-4, 5e-4


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Path]:
    """The folders of v1 and v2 of each model."""
    root = tmp_path_factory.mktemp("versions")
    found = {}
    for name, version in product(NAMES, ("v1", "v2")):
        reference, files, config = MODELS[name]
        folder = root / name / version
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(Reference.of(reference).folder / file, folder)
        if version == "v2":
            _change(folder / CHANGED[name])
        (folder / "check.png").write_bytes(PICTURES[0])
        checked = {"golden": [{"file": "check.png"}], "warm_up": {"runs": 0}, "gate": {"policy": "off"}}
        (folder / "config.json").write_text(json.dumps(config | checked))
        found[name, version] = folder
    return found


def _change(graph: Path) -> None:
    """Add a constant to the last weights of a graph."""
    model = onnx.load(graph)
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    weights = [each for each in model.graph.initializer if each.data_type in kinds][-1]
    array = numpy_helper.to_array(weights)
    ramp = np.linspace(0, 0.3, array.size).reshape(array.shape)
    weights.CopyFrom(numpy_helper.from_array((array + ramp).astype(array.dtype), weights.name))
    onnx.save(model, graph)


@pytest.fixture(scope="module")
def service(
    folders: Mapping[tuple[str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("prompted") / "home"
    for name in NAMES:
        _import(home, folders[name, "v1"])
    with contextmanager(services)() as make:
        yield make(home, OKAWARI_SERVE=",".join(f"{name}:latest" for name in NAMES)).ready()


def _import(home: Path, folder: Path) -> None:
    Importer(home).run(Candidate(folder, Wanted(), named=True))


def _alone(folder: Path) -> OnnxRunner:
    """A version in this process, without a service."""
    config = parse_config((folder / "config.json").read_bytes())
    weights = next((graph.file for graph in config.graphs.values()), "model.onnx")
    artifact = Artifact(
        tag=ModelTag(folder.parent.name, folder.name),
        path=folder,
        weights=folder / weights,
        digest="sha256:" + "0" * 64,
        config=config,
        created=datetime.now(UTC),
        size_bytes=1,
    )
    return OnnxLoader(max_pixels=1_000_000, thread_cap=1).load(artifact)


def _asks(name: str, folders: Mapping[tuple[str, str], Path]) -> list[Ask]:
    """Every picture with every prompt, and what each version says of it."""
    versions = {version: _alone(folders[name, version]) for version in ("v1", "v2")}
    asks = []
    for picture, query in product(PICTURES, QUERIES[name]):
        given = Picture(encoded=picture)
        scores = {
            version: runner.predict([given], options(query)).items[0].scores
            for version, runner in versions.items()
        }
        assert np.abs(np.subtract(scores["v1"], scores["v2"])).max() > APART, (name, query, scores)
        asks.append(Ask(picture, query, _teller(scores)))
    return asks


def _teller(scores: Mapping[str, tuple[float, ...]]) -> Any:
    def tells(document: dict[str, Any]) -> str | None:
        found = document["scores"]
        near = [version for version, each in scores.items() if np.allclose(found, each, rtol=0, atol=CLOSE)]
        return near[0] if len(near) == 1 else None

    return tells


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_the_version_they_name(
    service: Service, folders: Mapping[tuple[str, str], Path], name: str
) -> None:
    asks = _asks(name, folders)
    with Load(service, model=name, asks=asks) as load:
        load.sees("v1")
        _import(service.home, folders[name, "v2"])
        load.sees("v2")
        load.reach(LEAST[name] // 2)
        # 202: it goes on, and takes longer than a caller waits on a busy machine.
        assert service.target("v1", name).status_code in (200, 202)
        load.sees("v1")
        load.reach(max(LEAST[name], len(load.shots) + 10))
    print(f"{name}: {len(load.shots)} requests, {len(load.failures)} failures")
    assert load.failures == []
    assert load.contradictions == []
    assert {shot.claimed for shot in load.shots} == {"v1", "v2"}
