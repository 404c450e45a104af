"""Metadata and readiness of the service and its models in the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.open_inference import images
from hotswap.dataplane import DataPlane
from hotswap.errors import ModelNotFound, ServingError, VersionNotFound
from hotswap.predictions import BaseRequest, TensorSpec
from hotswap.runner import Runner
from hotswap.slot import NotResident
from manifest.version_manifest import ModelConfig

NAME = "okawari"
PLATFORM, BACKEND = "onnxruntime_onnx", "onnxruntime"
EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
)


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """Name, version and extensions of the service."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The serving version of a model, with the inputs and outputs of its graph.

    `versions` may be requested. `properties`: `task`, `digest`, and of a model that takes pictures
    `picture_input` and `picture_outputs`.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    properties: Mapping[str, str]


class Models:
    """Answers metadata and readiness requests from the versions serving at that moment."""

    def __init__(self, data_plane: DataPlane, version: str) -> None:
        self._data_plane = data_plane
        self._version = version

    def server(self) -> ServerMetadata:
        """Name, version and extensions of the service."""
        return ServerMetadata(NAME, self._version, EXTENSIONS)

    async def metadata(self, request: BaseRequest) -> ModelMetadata:
        """The metadata of the version that would answer `request`. Raises as `DataPlane.borrow` does."""
        lease = await self._data_plane.borrow(request)
        with lease as generation:
            artifact, runner = generation.artifact, generation.runner
            return ModelMetadata(
                name=artifact.tag.name,
                version=artifact.tag.version,
                versions=(artifact.tag.version,),
                platform=PLATFORM,
                inputs=runner.inputs,
                outputs=runner.outputs,
                properties={
                    **_of_pictures(artifact.config, runner),
                    "task": artifact.config.answers_as,
                    "digest": artifact.digest,
                },
            )

    def not_ready(self, name: str, version: str | None) -> str | None:
        """Why a model, or a version of it, is not ready; None when it is.

        One that is not in memory is ready if it can fit: it is brought when it is asked for.

        Raises `ModelNotFound`, `VersionNotFound`.
        """
        try:
            self._data_plane.router.lease(name, version).release()
        except (ModelNotFound, VersionNotFound):
            raise
        except NotResident as away:
            return None if self._data_plane.router.servable(name) else away.message
        except ServingError as reason:
            return reason.message
        return None


def _of_pictures(config: ModelConfig, runner: Runner) -> dict[str, str]:
    """The names under which pictures are sent and answered; none for a model that takes none."""
    if config.picture is None:
        return {}
    outputs = config.output.names or [spec.name for spec in runner.outputs]
    names = outputs if config.task == images.TENSORS else images.OUTPUTS[config.answers_as]
    return {"picture_input": images.INPUT, "picture_outputs": ",".join(names)}
