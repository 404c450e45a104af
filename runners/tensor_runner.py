"""The runner of versions that take tensors and no pictures: the graph alone, with its inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Options, Picture, Tensors, TensorSpec, Timings, Trial
from hotswap.repository import Artifact
from hotswap.runner import Placement, Stop
from manifest.version_manifest import CONFIG_FILE
from runners.families.generic import Generic
from runners.session import TRIAL_LIMIT, Session, limited
from runners.tensors import check_inputs, check_outputs, dtype_of

#: Elements of the tensors on which a version is checked, all together.
_MOST_ELEMENTS = 2**27
_FIELD = "output.parameters.check_shapes"


class TensorRunner:
    """One loaded version. Implements `hotswap.runner.Runner`."""

    def __init__(self, artifact: Artifact, graph: Session, family: Generic) -> None:
        """Raise `VersionFailed` for inputs that no request can give, and for outputs that do not exist."""
        self._artifact = artifact
        self._graph: Session | None = graph
        self._placed = graph.placement
        self.inputs = graph.input_specs
        offered = family.reads(graph.outputs)
        self.outputs = tuple(spec for spec in graph.output_specs if spec.name in offered)
        self.takes: tuple[str, ...] = ()
        self._shapes = _check_shapes(self.inputs, family.parameters.check_shapes)

    @property
    def placement(self) -> Placement:
        """See `Runner.placement`."""
        graph = self._graph
        return self._placed if graph is None else graph.placement

    def predict(self, pictures: Sequence[Picture], options: Options) -> NoReturn:  # noqa: ARG002
        """See `Runner.predict`. Raises `BadRequest`."""
        takes = ", ".join(f"{spec.name} {spec.datatype} {list(spec.shape)}" for spec in self.inputs)
        raise BadRequest(
            f"{self._artifact.tag} takes no pictures: send the tensors of its graph ({takes[:500]}) by the "
            "Open Inference Protocol"
        )

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], stop: Stop | None = None
    ) -> Tensors:
        """See `Runner.infer`."""
        check_inputs(self.inputs, inputs)
        names = check_outputs(self.outputs, outputs)
        graph, start = self._open_graph(), perf_counter()
        arrays = graph.infer(inputs, names, stop)
        return Tensors(arrays, Timings(inference=(perf_counter() - start) * 1000))

    def warm(self) -> None:
        """See `Runner.warm`."""
        name, tensors = next(self._check_tensors())
        with limited([self._open_graph()], TRIAL_LIMIT):
            for _ in range(self._artifact.config.warm_up.runs):
                self._try(f"warm-up on {name}", tensors)

    def check_options(self) -> Options:
        """Options that every picture can be asked with: there are none."""
        return Options()

    def check(self) -> None:
        """See `Runner.check`: the graph must run on zeros, and on noise where it takes floats."""
        with limited([self._open_graph()], TRIAL_LIMIT):
            for name, tensors in self._check_tensors():
                self._try(f"self-check on {name}", tensors)

    def trials(self) -> list[Trial]:
        """See `Runner.trials`: zeros, and noise."""
        return [Trial(tensors=tensors) for _, tensors in self._check_tensors()]

    def close(self) -> None:
        """See `Runner.close`."""
        self._graph = None

    def _open_graph(self) -> Session:
        if self._graph is None:
            raise ModelFailed("the model is closed")
        return self._graph

    def _try(self, where: str, tensors: Mapping[str, NDArray[Any]]) -> None:
        try:
            self.infer(tensors, ())
        except (BadRequest, ModelFailed) as error:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in tensors.items())
            raise VersionFailed(
                f"{where} ({shapes[:300]}): {error.message}; other shapes may be named in {_FIELD} of "
                f"{CONFIG_FILE}"
            ) from None

    def _check_tensors(self) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """Whole numbers are 0 in all of them: they may be places in a table of any length."""
        zeros = {spec.name: np.zeros(self._shapes[spec.name], dtype_of(spec)) for spec in self.inputs}
        yield "zeros", zeros
        random = np.random.default_rng(0)
        yield "noise", {name: _noise(array, random) for name, array in zeros.items()}


def _noise(zeros: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    return random.random(zeros.shape).astype(zeros.dtype) if zeros.dtype.kind == "f" else zeros


def _check_shapes(
    inputs: Sequence[TensorSpec], chosen: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors for checks. Raises `VersionFailed`."""
    names = [spec.name for spec in inputs]
    unknown = [name for name in chosen if name not in names]
    if unknown or not names:
        raise VersionFailed(
            f"{CONFIG_FILE}: {_FIELD}: the graph has the inputs {', '.join(names) or '(none)'}, found "
            f"{', '.join(unknown) or 'none'}"
        )
    for spec in inputs:
        _ = dtype_of(spec)
    shapes = {
        spec.name: tuple(chosen.get(spec.name) or [1 if side < 0 else side for side in spec.shape])
        for spec in inputs
    }
    elements = sum(map(math.prod, shapes.values()))
    if elements > _MOST_ELEMENTS:
        raise VersionFailed(
            f"the graph's inputs have {elements} elements, at most {_MOST_ELEMENTS} are checked: export it "
            f"with open sides, and name smaller ones in {_FIELD} of {CONFIG_FILE}"
        )
    return shapes
