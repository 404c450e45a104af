"""What the list of models declares of a model, seen at the version that is loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hotswap.errors import VersionFailed
from hotswap.predictions import Options
from manifest.profiles import ModelProfile
from runners.devices import DeviceRules
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from runners.tensor_runner import TensorRunner
from tests.runners.graphs import CLASSIFIER, artifact, constant_graph
from tests.runners.runs import PICTURE, SCORES
from tests.runners.test_devices import CPU, CUDA, Gpu


def load(
    folder: Path, profile: ModelProfile, config: Mapping[str, Any] | None = None, *, warm_up: bool = True
) -> OnnxRunner:
    """A classifier, loaded with a profile of its own and one of another model."""
    other = ModelProfile("other", cpu_threads=1, warm_up_samples=9, threshold=1.0)
    loader = OnnxLoader(
        max_pixels=1_000_000,
        thread_cap=8,
        profiles=lambda: {"thing": profile, "other": other},
        warm_up=warm_up,
    )
    runner = loader.load(artifact(folder, constant_graph(SCORES), {**CLASSIFIER, **(config or {})}))
    assert isinstance(runner, OnnxRunner)
    return runner


@pytest.mark.parametrize(
    ("profile", "threads"),
    [
        (ModelProfile("thing"), 4),
        (ModelProfile("thing", cpu_threads=2), 2),
        (ModelProfile("thing", cpu_threads=6), 4),
    ],
)
def test_cpu_threads_cap_those_of_the_graph(tmp_path: Path, profile: ModelProfile, threads: int) -> None:
    runner = load(tmp_path, profile, {"resources": {"threads": 4}})
    assert runner._graphs is not None
    options = runner._graphs.picture._graph.session.get_session_options()
    assert options.intra_op_num_threads == threads


@pytest.mark.parametrize(
    ("profile", "warm_up", "runs"),
    [
        (ModelProfile("thing"), True, 3),
        (ModelProfile("thing", warm_up_samples=5), True, 5),
        (ModelProfile("thing", warm_up_samples=0), True, 0),
        (ModelProfile("thing"), False, 0),
        (ModelProfile("thing", warm_up_samples=5), False, 0),
        (ModelProfile("thing", warm_up_samples=5, warms_up=True), False, 5),
        (ModelProfile("thing", warms_up=True), False, 3),
    ],
)
def test_samples_say_how_often_a_version_is_warmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: ModelProfile, warm_up: bool, runs: int
) -> None:
    runner = load(tmp_path, profile, {"warm_up": {"runs": 3}}, warm_up=warm_up)
    made: list[object] = []
    predict = runner.predict

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return predict(*arguments)

    monkeypatch.setattr(runner, "predict", counted)
    runner.warm()
    assert len(made) == runs


def test_a_threshold_holds_where_the_request_names_none(tmp_path: Path) -> None:
    def labels(profile: ModelProfile, options: Options) -> list[str]:
        runner = load(tmp_path, profile)
        return [each.label for each in runner.predict([PICTURE], options).items[0].detections]

    assert labels(ModelProfile("thing"), Options()) == ["a", "b", "c"]
    assert labels(ModelProfile("thing", threshold=0.3), Options()) == ["a"]
    assert labels(ModelProfile("thing", threshold=0.3), Options(threshold=0.2)) == ["a", "b"]


def test_a_version_that_is_other_than_declared_is_loaded_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    profile = ModelProfile("thing", provider="SAMProvider", families=("sam",))
    with caplog.at_level(logging.WARNING):
        runner = load(tmp_path, profile)
    assert runner.predict([PICTURE], Options()).items[0].scores == (0.5, 0.25, 0.125)
    assert "thing:v1 is declared with SAMProvider, but its family is classifier" in caplog.text
    caplog.clear()
    load(tmp_path, ModelProfile("thing", provider="ViTProvider", families=("classifier",)))
    assert caplog.text == ""


# --- devices -------------------------------------------------------------------------------------


def _placed(
    folder: Path,
    profile: ModelProfile,
    boundary: Gpu,
    has: tuple[str, ...],
    chosen: Mapping[str, str] | None = None,
    **config: Any,
) -> OnnxRunner | TensorRunner:
    def profiles() -> Mapping[str, ModelProfile]:
        return {"thing": profile}

    rules = DeviceRules("auto", available=lambda: list(has), chosen=(chosen or {}).get, profiles=profiles)
    loader = OnnxLoader(
        max_pixels=1_000_000, thread_cap=1, devices=rules, profiles=profiles, open_graph=boundary.open
    )
    return loader.load(artifact(folder, constant_graph(SCORES), CLASSIFIER | config))


@pytest.mark.parametrize(
    ("profile", "config", "device"),
    [
        (ModelProfile("thing", device="cuda:1"), {"device": "cpu"}, "cuda:1"),
        (ModelProfile("thing", device="cpu"), {"device": "cuda"}, "cpu"),
        (ModelProfile("thing", gpu_required=True), {"device": "cpu"}, "cuda:0"),
        (ModelProfile("thing", gpu_required=True), {"device": "cuda:2"}, "cuda:2"),
        (ModelProfile("thing", gpu_required=True, device="cuda:3"), {}, "cuda:3"),
    ],
)
def test_where_a_gpu_is_what_is_declared_goes_before_the_config(
    tmp_path: Path, profile: ModelProfile, config: dict[str, str], device: str
) -> None:
    runner = _placed(tmp_path, profile, Gpu(), (CUDA, CPU), **config)
    assert runner.placement.device == device


def test_a_choice_by_hand_goes_before_what_is_declared(tmp_path: Path) -> None:
    runner = _placed(
        tmp_path, ModelProfile("thing", device="cuda:1"), Gpu(), (CUDA, CPU), {"thing": "cuda:2"}
    )
    assert runner.placement.device == "cuda:2"


@pytest.mark.parametrize(
    ("has", "chosen", "trouble", "words"),
    [
        ((CPU,), {}, {}, "by gpu_required in the list of models; this onnxruntime has no CUDA"),
        ((CUDA, CPU), {"thing": "cpu"}, {}, "asked for cpu, by okawari devices; it is for the CPU"),
        ((CUDA, CPU), {}, {"fails": RuntimeError("out of memory")}, "out of memory"),
        ((CUDA, CPU), {}, {"starts": False}, "did not start"),
    ],
)
def test_a_version_that_requires_a_gpu_is_not_loaded_without_one(
    tmp_path: Path, has: tuple[str, ...], chosen: Mapping[str, str], trouble: dict[str, Any], words: str
) -> None:
    boundary = Gpu()
    vars(boundary).update(trouble)
    with pytest.raises(VersionFailed) as caught:
        _placed(tmp_path, ModelProfile("thing", gpu_required=True), boundary, has, chosen)
    assert caught.value.message.startswith("a GPU is required (gpu_required in the list of models): ")
    assert words in caught.value.message


def test_a_gpu_that_fails_later_is_left_for_the_cpu_as_ever(tmp_path: Path) -> None:
    boundary = Gpu()
    runner = _placed(tmp_path, ModelProfile("thing", gpu_required=True), boundary, (CUDA, CPU))
    assert runner.placement.device == "cuda:0"
    boundary.breaks = RuntimeError("CUDA failure 2: out of memory")
    assert runner.predict([PICTURE], Options()).items[0].scores == (0.5, 0.25, 0.125)
    assert runner.placement.device == "cpu"
