"""What a model family is: it knows how outputs become detections, and checks its own parameters."""

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
    """Base of the families' own `output.parameters`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True, slots=True)
class Found:
    """What a family reads from one picture's outputs; detections by falling score, or a vector [D]."""

    detections: tuple[Detection, ...] = ()
    embedding: NDArray[np.float32] | None = None


class Family(ABC, Generic[P]):
    """One way from outputs to detections, set up by one version's config. Holds no state of a call."""

    name: ClassVar[str]
    task: ClassVar[str]
    schema: ClassVar[type[Parameters]]
    #: Whether what it finds has labels, which the config must list.
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
        """Choose the graph outputs that are needed; raise `VersionFailed` if it cannot be told.

        Here: the one that `output.names` names, or the only one that the graph has.
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
        """Raise `ModelFailed` if the outputs do not have the shapes that the family expects."""

    @abstractmethod
    def find(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        """Turn the outputs for one picture, which passed `check`, into what was found."""

    def threshold(self, options: Options) -> float:
        """The request's score threshold, or else the model's."""
        asked = options.threshold
        return self.config.thresholds.score if asked is None else asked


def only(outputs: Outputs) -> NDArray[Any]:
    """The array of a family that reads a single output."""
    (array,) = outputs.values()
    return array


def expect(holds: bool, what: str, shape: Sequence[int]) -> None:
    """Raise `ModelFailed`, naming the shape found, unless `holds`."""
    if not holds:
        raise ModelFailed(f"the output should be {what}, found {list(shape)}")


def _parse(schema: type[Parameters], config: ModelConfig) -> Parameters:
    try:
        return schema.model_validate(config.output.parameters)
    except ValidationError as error:
        raise BadManifest(explain(f"{CONFIG_FILE}: output.parameters", error)) from None
