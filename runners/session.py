"""One loaded graph with limited threads, on its device, and the picture input of a graph that has one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from hotswap.errors import ModelFailed, VersionFailed
from hotswap.repository import Artifact
from hotswap.runner import CPU, Placement, Stop
from manifest.version_manifest import CONFIG_FILE, ModelConfig
from runners.graph_check import GraphTensor, batch_of, check_input, check_outputs, choose_input
from runners.ort_errors import reason_of
from runners.placed_graph import GraphPlacer
from runners.tensors import specs

#: Seconds in which a warm-up, or a self-check, must end; the import has as many for both.
TRIAL_LIMIT = 300.0
# Every error is raised as an exception; on stderr it would be a duplicate.
_FATAL_ONLY = 4


class Session:
    """One loaded graph. `infer` and `run` may be called from several threads at once."""

    def __init__(self, weights: Path, threads: int, placer: GraphPlacer) -> None:
        """Load the graph; raise `VersionFailed` with the reason."""
        self._graph = placer.place(weights, threads)
        session = self._graph.session
        self.input_specs = specs(session.get_inputs())
        self.output_specs = specs(session.get_outputs())
        self.inputs = tuple(_tensors(session.get_inputs()))
        self.outputs: tuple[str, ...] = tuple(output.name for output in session.get_outputs())
        #: What ends the runs for which nothing else is given: `limited` sets it for a while.
        self.stop: Stop | None = None

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        return self._graph.placement

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], names: Sequence[str], stop: Stop | None = None
    ) -> dict[str, NDArray[Any]]:
        """Run the graph on checked tensors; any error of onnxruntime, and a stop, become `ModelFailed`."""
        stop = stop or self.stop
        try:
            arrays = self._graph.run(names, inputs, None if stop is None else _until(stop))
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors have no common root
            if stop is not None and stop.given:
                raise ModelFailed("the graph ran too long, and was ended") from None
            raise ModelFailed(f"the graph failed: {reason_of(error)}") from None
        return dict(zip(names, arrays, strict=True))

    def run(
        self,
        inputs: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        count: int,
        unbounded: Collection[str] = (),
    ) -> dict[str, NDArray[Any]]:
        """Run the graph on those of `inputs` that it has.

        Raises `ModelFailed` unless the first side of each named output is `count` and its values are finite;
        of those in `unbounded`, -inf is allowed, too. The same for any error of onnxruntime.
        """
        unfed = [each.name for each in self.inputs if each.name not in inputs]
        if unfed:
            raise ModelFailed(f"the graph takes {', '.join(unfed)[:300]}, which its family does not give")
        outputs = self.infer({each.name: inputs[each.name] for each in self.inputs}, names)
        for name, array in outputs.items():
            _check_output(name, array, count, name in unbounded)
        return outputs


class PictureGraph(Session):
    """A graph with one input for pictures, as the config says, and others that its family feeds."""

    def __init__(
        self,
        weights: Path,
        config: ModelConfig,
        threads: int,
        placer: GraphPlacer,
        fed: Collection[str] = (),
    ) -> None:
        """Load and check the graph; raise `VersionFailed` with the reason."""
        super().__init__(weights, threads, placer)
        picture = choose_input(self.inputs, config.input, fed)
        check_input(picture, config.input)
        self.picture = picture.name
        self.batch = 1 if config.input.layout == "HWC" else batch_of(picture)
        check_outputs(self.outputs, config.output.names or (), "output.names")


@dataclass(frozen=True, slots=True)
class Graphs:
    """The graphs of a version: the one that takes pictures, and the others by the names of the family."""

    picture: PictureGraph
    others: Mapping[str, Session]

    @property
    def all(self) -> tuple[Session, ...]:
        """All of them."""
        return (self.picture, *self.others.values())

    @property
    def placement(self) -> Placement:
        """Where they run; where they differ, that of one which is on the CPU."""
        placements = [graph.placement for graph in self.all]
        return next((each for each in placements if each.device == CPU), placements[0])


@contextmanager
def limited(graphs: Collection[Session], seconds: float) -> Iterator[None]:
    """End runs of the block that have not ended after so many seconds: a graph may loop for ever."""
    stop = Stop()
    timer = Timer(seconds, stop.give)
    timer.daemon = True
    timer.start()
    for graph in graphs:
        graph.stop = stop
    try:
        yield
    finally:
        timer.cancel()
        for graph in graphs:
            graph.stop = None


def load_graphs(
    artifact: Artifact, threads: int, fed: Collection[str], needed: Collection[str], placer: GraphPlacer
) -> Graphs:
    """Load the graphs of a version; all but the first of `config.graphs` are `needed`, in any order.

    Raises `VersionFailed` with the reason.
    """
    config = artifact.config
    picture = PictureGraph(artifact.weights, config, threads, placer, fed)
    _check_graphs(config, needed)
    others = {name: artifact.path / graph.file for name, graph in list(config.graphs.items())[1:]}
    return Graphs(picture, {name: Session(file, threads, placer) for name, file in others.items()})


def load_graph(artifact: Artifact, threads: int, placer: GraphPlacer) -> Session:
    """Load the only graph of a version without pictures. Raises `VersionFailed` with the reason."""
    config = artifact.config
    _check_graphs(config, ())
    graph = Session(artifact.weights, threads, placer)
    check_outputs(graph.outputs, config.output.names or (), "output.names")
    return graph


def _check_graphs(config: ModelConfig, needed: Collection[str]) -> None:
    others = list(config.graphs)[1:]
    if set(others) != set(needed):
        raise VersionFailed(
            f"{CONFIG_FILE}: graphs: after the first one this family needs {', '.join(needed) or 'none'}, "
            f"found {', '.join(others) or 'none'}"
        )


def _until(stop: Stop) -> ort.RunOptions:
    """The options of one run, which ends with `stop` before the next operator."""
    options = ort.RunOptions()
    options.log_severity_level = _FATAL_ONLY
    stop.on(lambda: setattr(options, "terminate", True))
    return options


def _tensors(nodes: Sequence[Any]) -> list[GraphTensor]:
    return [GraphTensor(node.name, node.type, tuple(node.shape)) for node in nodes]


def _check_output(name: str, array: object, count: int, unbounded: bool) -> None:
    if not isinstance(array, np.ndarray) or array.ndim < 1 or len(array) != count:
        shape = list(array.shape) if isinstance(array, np.ndarray) else type(array).__name__
        raise ModelFailed(f"output {name} should hold {count} picture(s), found {shape}")
    if array.dtype.kind == "f" and not (_is_bounded_above if unbounded else _is_finite)(array):
        raise ModelFailed(f"output {name} holds NaN or infinity")


def _is_finite(array: NDArray[Any]) -> bool:
    return bool(np.isfinite(array).all())


def _is_bounded_above(array: NDArray[Any]) -> bool:
    return bool((array < np.inf).all())
