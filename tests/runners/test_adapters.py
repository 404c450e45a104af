"""Versions that a team's own code answers for: found, made, checked, asked, and what they may say."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hotswap.errors import AdapterFailed, BadPicture, BadRequest, VersionFailed
from hotswap.predictions import Options, Picture
from hotswap.repository import Artifact
from manifest.tags import ModelTag
from manifest.version_manifest import parse_config
from runners.adapter_runner import AdapterRunner
from runners.loader import OnnxLoader
from runners.teams import AdapterFolders, get_model_runner
from tests.runners.pictures import encode, smooth

_CODE = """
from pathlib import Path

class Soil:
    def __init__(self, weights_path=None, model_tag=None):
        self.said = Path(weights_path).read_text()
    def run(self, image_bytes_or_uri, model_tag=None, extra=None):
        return {"label": self.said, "score": 0.25, "tag": model_tag, "extra": extra,
                "bytes": len(image_bytes_or_uri)}
"""


class Team:
    """A team root with one adapter, and a version of its model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = folder / "version"
        self.version.mkdir(parents=True)

    def write(self, code: str, name: str = "soil_runner") -> None:
        path = self.folder / "adapters" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)

    def artifact(self, adapter: str = "soil_runner", weights: str = "wet") -> Artifact:
        file = self.version / "weights.onnx"
        file.write_text(weights)
        config = {"task": "custom", "family": "adapter", "output": {"parameters": {"adapter": adapter}}}
        return Artifact(
            tag=ModelTag("soil", "v3"),
            path=self.version,
            weights=file,
            digest="sha256:" + "0" * 64,
            config=parse_config(json.dumps(config)),
            created=datetime.now(UTC),
            size_bytes=3,
        )

    def load(self, code: str = _CODE, adapter: str = "soil_runner") -> AdapterRunner:
        self.write(code)
        loader = OnnxLoader(max_pixels=1_000_000, thread_cap=1, adapters=AdapterFolders(self.folder))
        runner = loader.load(self.artifact(adapter))
        assert isinstance(runner, AdapterRunner)
        return runner


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path / "root")


def _jpeg(width: int, height: int) -> bytes:
    return encode(smooth(width, height), "JPEG")


def _running(body: str, before: str = "") -> str:
    lines = ["import numpy as np", before, "class Soil:", "    def __init__(self, **_): pass"]
    return "\n".join([*lines, "    def run(self, data, **_):", f"        {body}"])


def _ask(runner: AdapterRunner, options: Options | None = None) -> Any:
    (item,) = runner.predict([Picture(encoded=_jpeg(32, 24))], options or Options()).items
    return item


def test_what_it_says_is_the_answer_and_its_label_a_detection(team: Team) -> None:
    runner = team.load()
    runner.check()
    runner.warm()
    item = _ask(runner, Options(extra='{"row": 4}'))
    assert item.result == {
        "label": "wet",
        "score": 0.25,
        "tag": "soil:v3",
        "extra": {"row": 4},
        "bytes": len(_jpeg(32, 24)),
    }
    assert [(each.label, each.score, each.bbox) for each in item.detections] == [("wet", 0.25, None)]
    assert (item.width, item.height, item.model_version, item.task) == (32, 24, "v3", "custom")


def test_each_version_has_its_own_instance(team: Team) -> None:
    first = team.load()
    second = OnnxLoader(max_pixels=1_000_000, thread_cap=1, adapters=AdapterFolders(team.folder)).load(
        team.artifact(weights="dry")
    )
    assert isinstance(second, AdapterRunner)
    assert (_ask(first).result["label"], _ask(second).result["label"]) == ("wet", "dry")


def test_listed_detections_come_by_falling_score(team: Team) -> None:
    rows = [
        {"label": "a", "confidence": 0.2, "bbox": [0, 0, 0.5, 1], "label_id": 3},
        {"label": "b", "score": 0.9},
        {"label": 5},
        "none",
    ]
    found = _ask(
        team.load(_running(f"return {{'detections': {rows!r}}}")), Options(max_detections=2)
    ).detections
    assert [(each.label, each.label_id, each.bbox) for each in found] == [
        ("b", 0, None),
        ("a", 3, (0, 0, 0.5, 1)),
    ]


def test_numbers_of_numpy_are_written_as_json(team: Team) -> None:
    item = _ask(
        team.load(_running("return {'a': np.float32(0.5), 'b': np.arange(2), 'c': {'d': np.int64(7)}}"))
    )
    assert item.result == {"a": 0.5, "b": [0, 1], "c": {"d": 7}}
    assert item.detections == ()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('no row')", "Soil: KeyError: 'no row'"),
        ("return 5", "run should give a dict, found int"),
        ("return {'a': object()}", "no JSON"),
        ("return {'a': float('nan')}", "no JSON"),
        ("return {'a': 'x' * 300_000}", "characters of JSON"),
        ("return {'a': 2**64}", "64 bits"),
        ("return {'label': 'x', 'score': 10**400}", "64 bits"),
        ("return {'a': chr(0xd800)}", "half a character"),
        ("return {'a': __import__('functools').reduce(lambda inner, _: [inner], range(80), 1)}", "50 levels"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_what_it_raises_or_should_not_say_is_a_lasting_failure(team: Team, body: str, said: str) -> None:
    runner = team.load(_running(body))
    with pytest.raises(AdapterFailed, match=said) as caught:
        _ask(runner)
    assert not caught.value.transient
    with pytest.raises(VersionFailed, match="self-check on noise"):
        runner.check()


def test_a_broken_picture_does_not_reach_it(team: Team) -> None:
    runner = team.load(_running("raise AssertionError('asked')"))
    with pytest.raises(BadPicture):
        runner.predict([Picture(encoded=_jpeg(64, 64)[:300])], Options())


def test_options_of_other_families_are_refused(team: Team) -> None:
    with pytest.raises(BadRequest, match="text_prompt: adapters take no such option"):
        _ask(team.load(), Options(text_prompt="bird ."))


@pytest.mark.parametrize(
    ("code", "adapter", "said"),
    [
        (_CODE, "corn_runner", "there is no corn_runner.py in"),
        (_CODE, "soil_runner:Corn", "one class Corn with a method run, found Soil"),
        ("x = 1", "soil_runner", "found none"),
        ("def broken(:", "soil_runner", "SyntaxError"),
        ("import nothing_like_that", "soil_runner", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "soil_runner", "SystemExit"),
        ("class Soil:\n    def __init__(self): pass\n    def run(self): pass", "soil_runner", "TypeError"),
    ],
)
def test_code_that_cannot_be_used_is_refused_with_its_reason(
    team: Team, code: str, adapter: str, said: str
) -> None:
    with pytest.raises(VersionFailed, match=said):
        team.load(code, adapter)


def test_code_may_lie_in_models_of_the_team(team: Team) -> None:
    package = team.folder / "models" / "soil_net"
    package.mkdir(parents=True)
    (package / "net.py").write_text("WORD = 'from models'")
    before = "from models.soil_net.net import WORD"
    assert _ask(team.load(_running("return {'label': WORD}", before))).result == {"label": "from models"}


def test_one_picture_at_a_time_unless_it_says_otherwise(team: Team) -> None:
    code = _running(
        "self.inside += 1; self.most = max(self.most, self.inside); time.sleep(0.02); self.inside -= 1; "
        "return {'most': self.most}",
        "import time",
    ).replace("pass", "self.inside = self.most = 0", 1)
    runner = team.load(code)
    said: list[int] = []
    threads = [threading.Thread(target=lambda: said.append(_ask(runner).result["most"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert said == [1, 1, 1, 1]


def test_the_adapter_of_a_team_can_be_tried_outside_the_service(team: Team) -> None:
    team.write(_CODE)
    folders = AdapterFolders(team.folder)
    assert folders.teams()["soil"] == "soil_runner"
    weights = team.folder / "w"
    weights.write_text("wet")
    assert get_model_runner("SOIL", str(weights), folders=folders).run(b"12", "soil:v1")["bytes"] == 2
    with pytest.raises(VersionFailed, match="unknown TEAM corn; known: fruit, soil"):
        get_model_runner("corn", folders=folders)
