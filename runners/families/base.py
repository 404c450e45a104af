"""The base of model families: a family turns outputs into detections and checks its parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from common.text import explain
from hotswap.errors import ModelFailed, VersionFailed
from hotswap.manifest import CONFIG_FILE, BadManifest, ModelConfig
from hotswap.predictions import Detection, Options
from runners.geometry import Geometry

#: The outputs for one picture by name, without the batch axis.
Outputs = Mapping[str, NDArray[Any]]


class Parameters(BaseModel):
    """Base of a family's `output.parameters`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Found:
    """The result for one picture: detections by descending score, or a vector [D]."""

    detections: tuple[Detection, ...] = ()
    embedding: NDArray[np.float32] | None = None


class Family(ABC, Generic[P]):
    """Turns outputs into detections, configured by one version's config. Has no state per call."""

    name: ClassVar[str]
    task: ClassVar[str]
    schema: ClassVar[type[Parameters]]
    #: Whether the results have labels, which the config must list.
    labelled: ClassVar[bool] = True

    def __init__(self, config: ModelConfig) -> None:
        """Raise `BadManifest`, naming field, value and what is allowed, if the config does not fit."""
        if config.task != self.task:
            raise BadManifest(
                f"{CONFIG_FILE}: task: family {self.name!r} does {self.task!r}, found {config.task!r}"
            )
        if self.labelled and not config.labels:
            raise BadManifest(f"{CONFIG_FILE}: labels: family {self.name!r} needs at least one, found none")
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

    @abstractmethod
    def check(self, outputs: Outputs) -> None:
        """Raise `ModelFailed` unless the outputs have the family's shapes."""

    @abstractmethod
    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """The result of one picture's outputs, which passed `check`."""

    def threshold(self, options: Options) -> float:
        """The request's score threshold; by default the model's."""
        return self.config.thresholds.score if options.threshold is None else options.threshold


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
