"""Where a version runs: asked for, tried, and left for the CPU with a reason when it cannot be there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.predictions import Options
from hotswap.runner import Fallback
from manifest.tags import ModelTag
from runners.devices import DeviceRules, Provider
from runners.loader import OnnxLoader
from runners.onnx_runner import OnnxRunner
from runners.placed_graph import open_session
from tests.runners.graphs import CLASSIFIER, artifact, constant_graph
from tests.runners.runs import PICTURE, SCORES, frames, one_only

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"
OPENVINO = {"name": "OpenVINOExecutionProvider", "options": {"device_type": "GPU", "precision": "FP16"}}


class Gpu:
    """The boundary to onnxruntime where a GPU would be: real sessions, on the CPU, that claim a provider.

    `fails` is raised by the next sessions on the GPU when they are opened, `breaks` when they run.
    """

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.breaks: Exception | None = None
        self.starts = True
        self.opened: list[list[tuple[str, dict[str, str]]]] = []

    def open(self, weights: Path, threads: int, providers: Sequence[Provider]) -> Any:
        self.opened.append([(each.name, dict(each.options)) for each in providers])
        if providers and self.fails:
            raise self.fails
        session = open_session(weights, threads, ())
        return _OnGpu(session, self, providers) if providers and self.starts else session


class _OnGpu:
    def __init__(self, session: Any, gpu: Gpu, providers: Sequence[Provider]) -> None:
        self._session = session
        self._gpu = gpu
        self._names = [each.name for each in providers]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        return [*self._names, CPU]

    def run(self, *arguments: Any) -> Any:
        if self._gpu.breaks:
            raise self._gpu.breaks
        return self._session.run(*arguments)


class Loaded:
    """A classifier loaded with rules, and the fallbacks that were told."""

    def __init__(
        self, folder: Path, boundary: Gpu | None = None, has: Sequence[str] = (CPU,), **rules: Any
    ) -> None:
        document = {name: rules.pop(name) for name in ("device", "providers") if name in rules}
        self.fallbacks: list[tuple[ModelTag, Fallback]] = []
        loader = OnnxLoader(
            max_pixels=1_000_000,
            thread_cap=1,
            devices=DeviceRules(**rules, **({"available": lambda: list(has)} if boundary else {})),
            fell_back=lambda *told: self.fallbacks.append(told),
            **({"open_graph": boundary.open} if boundary else {}),
        )
        graph = constant_graph(SCORES)
        self.runner: OnnxRunner = loader.load(artifact(folder, graph, CLASSIFIER | document))

    @property
    def causes(self) -> list[str]:
        return [fallback.cause for _, fallback in self.fallbacks]

    def scores(self) -> tuple[float, ...]:
        return self.runner.predict([PICTURE], Options()).items[0].scores


class TestWithThisOnnxruntime:
    """Nothing stands in for anything here: this onnxruntime has no GPU."""

    def test_auto_is_the_cpu_and_no_fallback(self, tmp_path: Path) -> None:
        loaded = Loaded(tmp_path, setting="auto")
        assert loaded.runner.placement.device == "cpu"
        assert loaded.runner.placement.reason == "no GPU that this onnxruntime can use: the CPU"
        assert loaded.fallbacks == []
        assert loaded.scores() == (0.5, 0.25, 0.125)

    @pytest.mark.parametrize(
        ("rules", "device"),
        [
            ({"setting": "cuda:1"}, "cuda:1"),
            ({"device": "cuda"}, "cuda:0"),
            ({"providers": [OPENVINO]}, "OpenVINOExecutionProvider"),
        ],
    )
    def test_a_provider_that_is_missing_is_told_and_the_cpu_answers(
        self, tmp_path: Path, rules: dict[str, Any], device: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        loaded = Loaded(tmp_path, **rules)
        assert loaded.scores() == (0.5, 0.25, 0.125)
        assert loaded.runner.placement.device == "cpu"
        ((tag, fallback),) = loaded.fallbacks
        assert (str(tag), fallback.device, fallback.cause) == ("thing:v1", device, "missing")
        assert CPU in fallback.reason
        assert fallback.reason in loaded.runner.placement.reason
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    def test_a_provider_that_is_there_is_used_with_its_name(self, tmp_path: Path) -> None:
        loaded = Loaded(tmp_path, providers=[{"name": "AzureExecutionProvider"}])
        assert loaded.runner.placement.device == "AzureExecutionProvider"
        assert loaded.fallbacks == []
        assert loaded.scores() == (0.5, 0.25, 0.125)

    def test_a_broken_file_is_the_files_fault(self, tmp_path: Path) -> None:
        loader = OnnxLoader(
            max_pixels=1,
            thread_cap=1,
            devices=DeviceRules(),
            fell_back=lambda *_: pytest.fail("no device is to blame"),
        )
        document = CLASSIFIER | {"providers": [{"name": "AzureExecutionProvider"}]}
        with pytest.raises(VersionFailed, match="cannot be loaded"):
            loader.load(artifact(tmp_path, b"no graph", document))


class TestRules:
    def _opened(self, tmp_path: Path, **rules: Any) -> tuple[str, list[tuple[str, dict[str, str]]]]:
        gpu = Gpu()
        loaded = Loaded(tmp_path, gpu, [CUDA, "TensorrtExecutionProvider", CPU], **rules)
        return loaded.runner.placement.device, gpu.opened[0]

    @pytest.mark.parametrize(
        ("rules", "device"),
        [
            ({"setting": "auto"}, "cuda:0"),
            ({"setting": "auto", "gpu": 3}, "cuda:3"),
            ({"setting": "cuda", "gpu": 1}, "cuda:1"),
            ({"setting": "cuda:2", "gpu": 1}, "cuda:2"),
            ({"setting": "cpu"}, "cpu"),
            ({"setting": "auto", "device": "cpu"}, "cpu"),
            ({"setting": "cpu", "device": "cuda:1"}, "cuda:1"),
            ({"device": "cuda:1", "chosen": {"thing": "cpu"}.get}, "cpu"),
            ({"device": "cpu", "chosen": {"other": "cuda:0"}.get}, "cpu"),
        ],
    )
    def test_the_choice_comes_before_the_config_before_the_setting(
        self, tmp_path: Path, rules: dict[str, Any], device: str
    ) -> None:
        placed, opened = self._opened(tmp_path, **rules)
        assert placed == device
        assert opened == ([] if device == "cpu" else [(CUDA, {"device_id": device.removeprefix("cuda:")})])

    def test_providers_pass_through_in_their_order_with_their_options(self, tmp_path: Path) -> None:
        tensorrt = {"name": "TensorrtExecutionProvider", "options": {"trt_fp16_enable": "True"}}
        providers = [OPENVINO, tensorrt, {"name": CUDA}]
        placed, opened = self._opened(tmp_path, providers=providers)
        assert placed == "TensorrtExecutionProvider"  # OpenVINO is not there, the next one is
        assert opened == [(tensorrt["name"], tensorrt["options"]), (CUDA, {})]


class TestFailures:
    OUT = RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : CUDA failure 2: out of memory")

    def test_out_of_memory_while_loading_leads_to_the_cpu(self, tmp_path: Path) -> None:
        gpu = Gpu()
        gpu.fails = self.OUT
        loaded = Loaded(tmp_path, gpu, [CUDA, CPU], setting="auto")
        assert (loaded.runner.placement.device, loaded.causes) == ("cpu", ["load"])
        assert "out of memory" in loaded.runner.placement.reason
        assert loaded.scores() == (0.5, 0.25, 0.125)

    def test_a_provider_that_does_not_start_is_noticed(self, tmp_path: Path) -> None:
        gpu = Gpu()
        gpu.starts = False
        loaded = Loaded(tmp_path, gpu, [CUDA, CPU], setting="cuda:0")
        assert (loaded.runner.placement.device, loaded.causes) == ("cpu", ["load"])

    def test_a_run_that_fails_on_the_device_is_answered_by_the_cpu_and_stays_there(
        self, tmp_path: Path
    ) -> None:
        gpu = Gpu()
        loaded = Loaded(tmp_path, gpu, [CUDA, CPU], setting="auto")
        assert loaded.scores() == (0.5, 0.25, 0.125)
        assert loaded.runner.placement.device == "cuda:0"
        gpu.breaks = self.OUT
        assert loaded.scores() == (0.5, 0.25, 0.125)
        gpu.breaks = None
        assert loaded.scores() == (0.5, 0.25, 0.125)
        assert (loaded.runner.placement.device, loaded.causes) == ("cpu", ["run"])

    def test_threads_that_fail_together_move_it_once(self, tmp_path: Path) -> None:
        gpu = Gpu()
        loaded = Loaded(tmp_path, gpu, [CUDA, CPU], setting="auto")
        together = threading.Barrier(4)

        class _Breaks(RuntimeError):
            def __str__(self) -> str:
                return "CUDA failure 2: out of memory"

        gpu.breaks = _Breaks()

        def ask(_: int) -> tuple[float, ...]:
            together.wait(10)
            return loaded.scores()

        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(ask, range(4))) == {(0.5, 0.25, 0.125)}
        assert loaded.causes == ["run"]
        assert len(gpu.opened) == 2

    def test_what_the_request_is_to_blame_for_moves_nothing(self, tmp_path: Path) -> None:
        """A real error of the graph: it takes one picture only."""
        gpu, told = Gpu(), []
        loader = OnnxLoader(
            max_pixels=1_000_000,
            thread_cap=1,
            devices=DeviceRules("cuda:0", available=lambda: [CUDA, CPU]),
            fell_back=lambda *one: told.append(one),
            open_graph=gpu.open,
        )
        runner = loader.load(artifact(tmp_path, one_only(), CLASSIFIER))
        runner._batches = True
        with pytest.raises(ModelFailed):
            runner.predict(frames(2), Options())
        assert (runner.placement.device, told) == ("cuda:0", [])

    def test_files_that_are_gone_when_it_has_to_move_are_a_failure_with_a_reason(
        self, tmp_path: Path
    ) -> None:
        gpu = Gpu()
        loaded = Loaded(tmp_path, gpu, [CUDA, CPU], setting="auto")
        gpu.breaks = self.OUT
        (tmp_path / "weights.onnx").unlink()
        with pytest.raises(ModelFailed, match="cannot be loaded"):
            loaded.scores()
        assert loaded.causes == []

    def test_where_it_ran_is_known_after_its_end(self, tmp_path: Path) -> None:
        loaded = Loaded(tmp_path, Gpu(), [CUDA, CPU], setting="auto")
        loaded.runner.close()
        assert loaded.runner.placement.device == "cuda:0"
