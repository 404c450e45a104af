"""The base of model families: a family turns outputs into detections, and options into further inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from common.text import explain
from hotswap.errors import BadRequest, ModelFailed, VersionFailed
from hotswap.predictions import Detection, Options
from manifest.version_manifest import CONFIG_FILE, BadManifest, ModelConfig, Thresholds
from runners.geometry import Geometry
from runners.graph_check import GraphTensor
from runners.session import Session

#: The outputs for one picture by name, without the batch axis.
Outputs = Mapping[str, NDArray[Any]]


class Parameters(BaseModel):
    """What a family reads from `output.parameters`; by itself nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Found:
    """The result for one picture: detections by descending score, a vector [D], or tensors by name."""

    detections: tuple[Detection, ...] = ()
    embedding: NDArray[np.float32] | None = None
    tensors: Outputs | None = None


class Family(ABC, Generic[P]):
    """Turns outputs into detections, configured by one version's config. Has no state per call."""

    name: ClassVar[str]
    task: ClassVar[str]
    #: The family's parameters; by default it has none.
    schema: ClassVar[type[Parameters]] = Parameters
    #: Whether every model of the family takes pictures, for which the config must describe the input.
    pictured: ClassVar[bool] = True
    #: Whether the results have labels, which the config must list.
    labelled: ClassVar[bool] = True
    #: Whether the family reads a text prompt, for which the config must name a tokenizer.
    tokenized: ClassVar[bool] = False
    #: The options that the family takes, of `FAMILY_OPTIONS`.
    takes: ClassVar[tuple[str, ...]] = ()
    #: Inputs of graphs that the family feeds, where a graph has them; the picture's is none of them.
    fed: ClassVar[tuple[str, ...]] = ()
    #: What counts as found, where the config does not say: the least score, and the overlap for suppression.
    usual_thresholds: ClassVar[Thresholds] = Thresholds()
    #: The graphs after the one for pictures, by which the config must name them.
    other_graphs: tuple[str, ...] = ()
    #: Pictures whose outputs of their graph are kept, so that the next prompt on them costs `complete` alone.
    remembered: ClassVar[int] = 0
    #: Outputs in which -inf means "none".
    unbounded: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ModelConfig) -> None:
        """Raise `BadManifest`, naming field, value and what is allowed, if the config does not fit."""
        if config.task != self.task:
            raise BadManifest(
                f"{CONFIG_FILE}: task: family {self.name!r} does {self.task!r}, found {config.task!r}"
            )
        if self.pictured:
            _ = config.input
        if self.labelled and not config.labels:
            raise BadManifest(f"{CONFIG_FILE}: labels: family {self.name!r} needs at least one, found none")
        if self.tokenized and config.tokenizer is None:
            raise BadManifest(
                f"{CONFIG_FILE}: tokenizer: family {self.name!r} needs one; name the model's tokenizer.json"
            )
        self.config = config
        self.parameters = cast(P, _parse(self.schema, config))

    def reads(self, available: Sequence[str]) -> tuple[str, ...]:
        """The graph outputs that the family reads. Raises `VersionFailed` if they are ambiguous.

        Default: the one in `output.names`, or the only output of the graph.
        """
        chosen = self.config.output.names or available
        if len(chosen) != 1:
            raise VersionFailed(
                f"family {self.name!r} reads one output: {CONFIG_FILE} should name it in "
                f"output.names (the graph has {', '.join(available)}; found {', '.join(chosen)})"
            )
        return tuple(chosen)

    def connect(self, inputs: Sequence[GraphTensor]) -> None:
        """Look at the inputs of the graph for pictures: they may show an export's form. Default: do not."""

    def prepare(self, folder: Path) -> None:
        """Read the version's own files, such as a tokenizer. Raises `VersionFailed`. Default: none."""

    def check_options(self) -> Options:
        """The options of warm-up and self-check; the lowest threshold exercises the suppression, too."""
        return Options(threshold=0.0)

    def accept(self, options: Options) -> None:
        """Raise `BadRequest` for an option that the family does not take, or one that it needs."""
        for name in options.named:
            if name not in self.takes:
                taken = ", ".join((*self.takes, "threshold", "max_detections"))
                raise BadRequest(f"{name}: family {self.name!r} takes no such option; it takes {taken}")

    def feed(self, placed: Sequence[Geometry], options: Options) -> Outputs:  # noqa: ARG002
        """The inputs `fed` for a batch of `placed` pictures, each with the batch as its first side."""
        return {}

    def complete(
        self,
        outputs: Outputs,
        others: Mapping[str, Session],  # noqa: ARG002
        placed: Sequence[Geometry],  # noqa: ARG002
        options: Options,  # noqa: ARG002
    ) -> Outputs:
        """What `check` and `find` read, for a batch: the `outputs` of the first graph, taken further.

        Default: the outputs as they are.
        """
        return outputs

    @abstractmethod
    def check(self, outputs: Outputs) -> None:
        """Raise `ModelFailed` unless the outputs have the family's shapes."""

    @abstractmethod
    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """The result of one picture's outputs, which passed `check`."""

    def threshold(self, options: Options) -> float:
        """The request's score threshold; by default the model's."""
        return self._or_usual("score") if options.threshold is None else options.threshold

    def nms_iou(self, options: Options) -> float:
        """The request's overlap of two boxes from which the weaker is dropped; by default the model's."""
        return self._or_usual("nms_iou") if options.nms_threshold is None else options.nms_threshold

    def _or_usual(self, name: str) -> float:
        declared = self.config.thresholds
        value: float = getattr(declared if name in declared.model_fields_set else self.usual_thresholds, name)
        return value


def only(outputs: Outputs) -> NDArray[Any]:
    """The single array of a family that reads one output."""
    (array,) = outputs.values()
    return array


def expect(fits: bool, expected: str, shape: Sequence[int]) -> None:
    """Raise `ModelFailed`, naming the expected and the actual shape, unless `fits`."""
    if not fits:
        raise ModelFailed(f"the output should be {expected}, found {list(shape)}")


def _parse(schema: type[Parameters], config: ModelConfig) -> Parameters:
    try:
        return schema.model_validate(config.output.parameters)
    except ValidationError as error:
        raise BadManifest(explain(f"{CONFIG_FILE}: output.parameters", error)) from None
