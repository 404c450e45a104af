"""A graph of onnxruntime on its device, and its move to the CPU when it cannot be there."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnxruntime as ort
from numpy.typing import NDArray

from hotswap.errors import VersionFailed
from hotswap.runner import CPU, Fallback, Placement
from runners.devices import CPU_PROVIDER, ON_CPU, Device, Provider
from runners.external_data import check_external_data
from runners.ort_errors import reason_of

# Every error is raised as an exception; on stderr it would be a duplicate.
_FATAL_ONLY = 4

#: Errors of a run that the device is to blame for: no memory, or its library has failed.
_DEVICE_FAILED = re.compile(
    r"out of memory|bad_alloc|allocate memory|CUDA (?:failure|error)|CUDNN|CUBLAS|EP_FAIL", re.IGNORECASE
)

#: Opens a session: file, threads, providers before the CPU.
OpenSession = Callable[[Path, int, Sequence[Provider]], Any]


def open_session(weights: Path, threads: int, providers: Sequence[Provider]) -> Any:
    """A session of onnxruntime; raises whatever onnxruntime does, or `VersionFailed`.

    Its own fallback is off: it is visible on stdout alone.
    """
    check_external_data(weights)
    return ort.InferenceSession(
        str(weights),
        sess_options=session_options(threads),
        providers=[*((each.name, dict(each.options)) for each in providers), CPU_PROVIDER],
        enable_fallback=0,
    )


class GraphPlacer:
    """Opens the graphs of one version on its device; `fell_back` is called for each that is moved."""

    def __init__(
        self,
        device: Device = ON_CPU,
        fell_back: Callable[[Fallback], None] = lambda _fallback: None,
        open_graph: OpenSession = open_session,
        available: Callable[[], Sequence[str]] = ort.get_available_providers,
    ) -> None:
        self.device = device
        self.fell_back = fell_back
        self.open_graph = open_graph
        self.available = available

    def place(self, weights: Path, threads: int) -> PlacedGraph:
        """Open a graph; raise `VersionFailed` with the reason when it cannot run on the CPU either."""
        return PlacedGraph(self, weights, threads)


class PlacedGraph:
    """One opened graph. `run` may be called from several threads at once."""

    def __init__(self, placer: GraphPlacer, weights: Path, threads: int) -> None:
        self._placer = placer
        self._weights = weights
        self._threads = threads
        self._moving = threading.Lock()
        self.placement = Placement(placer.device.name, placer.device.asked_by)
        self.session = self._opened()

    def run(
        self, names: Sequence[str], inputs: Mapping[str, NDArray[Any]], options: ort.RunOptions | None = None
    ) -> list[NDArray[Any]]:
        """The named outputs; raises whatever onnxruntime does.

        When the device fails, the graph goes to the CPU for good, and runs there.
        """
        session = self.session
        try:
            arrays: list[NDArray[Any]] = session.run(list(names), dict(inputs), options)
        except Exception as error:
            if not self._left(session, error):
                raise
            arrays = self.session.run(list(names), dict(inputs), options)
        return arrays

    def _left(self, failed: Any, error: Exception) -> bool:
        """Whether the graph is elsewhere now than the session that failed."""
        with self._moving:
            if self.session is not failed:
                return True  # another thread has moved it
            if self.placement.device == CPU or not _DEVICE_FAILED.search(str(error)):
                return False
            self.session = self._on_cpu("run", f"a run failed: {reason_of(error)}")
            return True

    def _opened(self) -> Any:
        wanted, available = self._placer.device.providers, self._placer.available()
        if not wanted:
            self._check_required("it is for the CPU")
            return self._open(())
        usable = [each for each in wanted if each.name in available]
        if not usable:
            names = ", ".join(each.name for each in wanted)
            return self._on_cpu("missing", f"this onnxruntime has no {names}; it has {', '.join(available)}")
        try:
            session = self._placer.open_graph(self._weights, self._threads, usable)
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common root
            return self._on_cpu("load", reason_of(error, self._weights.parent))
        return self._started(session, usable)

    def _started(self, session: Any, usable: Sequence[Provider]) -> Any:
        """The session, unless the provider did not start: onnxruntime then uses the next without a word."""
        running = session.get_providers()
        first = next((each for each in usable if each.name in running), None)
        if first is None:
            names = ", ".join(each.name for each in usable)
            return self._on_cpu("load", f"{names} did not start; its driver or libraries may be missing")
        self.placement = Placement(first.device, self.placement.reason)
        return session

    def _check_required(self, why: str) -> None:
        """Raise `VersionFailed` if the CPU is no place for the graph."""
        device = self._placer.device
        if device.required:
            raise VersionFailed(
                f"a GPU is required (gpu_required in the list of models): asked for {device.asked_by}; {why}"
            )

    def _on_cpu(self, cause: str, why: str) -> Any:
        if cause != "run":  # what has answered goes on answering
            self._check_required(why)
        session = self._open(())
        device = self._placer.device
        self.placement = Placement(CPU, f"asked for {device.asked_by}; {why}")
        self._placer.fell_back(Fallback(device.name, cause, why))
        return session

    def _open(self, providers: Sequence[Provider]) -> Any:
        try:
            return self._placer.open_graph(self._weights, self._threads, providers)
        except VersionFailed:
            raise
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common root
            reason = reason_of(error, self._weights.parent)
            raise VersionFailed(f"{self._weights.name} cannot be loaded: {reason}") from None


def session_options(threads: int) -> ort.SessionOptions:
    """The options of every session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    # Spinning threads take CPU time from the other models.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options
