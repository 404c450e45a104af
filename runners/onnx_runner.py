"""The runner of all families: decode, preprocess, run the graph, let the family read the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from hotswap.errors import ModelFailed, ServingError, VersionFailed, for_image
from hotswap.predictions import Options, Picture, Prediction, Predictions, Tensors, Timings
from hotswap.repository import Artifact
from runners.check_images import check_pictures
from runners.decode import Decoded, decode
from runners.families.base import Family, Found, Outputs
from runners.geometry import Geometry
from runners.preprocess import Preprocessor
from runners.session import PictureGraph
from runners.tensors import check_inputs, check_outputs

#: Most pictures in one run of the graph: more are hardly faster each, and need their memory at once.
_MAX_BATCH = 8


class OnnxRunner:
    """One loaded version. Implements `hotswap.runner.Runner`."""

    def __init__(
        self, artifact: Artifact, session: PictureGraph, family: Family[Any], max_pixels: int
    ) -> None:
        self._artifact = artifact
        self._family = family
        self._max_pixels = max_pixels
        self.inputs = session.input_specs
        self.outputs = session.output_specs
        self._names = family.reads(session.outputs)
        self._preprocessor = Preprocessor(artifact.config.input)
        self._session: PictureGraph | None = session
        # Exports often declare an open batch but fail for more than one picture: `check` tests it.
        self._batches = False

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """See `Runner.predict`. Timings are sums over the pictures of this call."""
        self._family.accept(options)
        timings = Timings()
        items: list[Prediction] = []
        for decoded in self._groups(pictures, timings):
            results = self._answer(decoded, options, timings)
            items += [self._prediction(*pair) for pair in zip(decoded, results, strict=True)]
        return Predictions(tuple(items), timings)

    def _groups(self, pictures: Sequence[Picture], timings: Timings) -> Iterator[list[Decoded]]:
        """Decoded batches, one per run of the graph. A batch has at most `max_pixels` pixels in all."""
        size = (self._artifact.config.input.width, self._artifact.config.input.height)
        limit = _MAX_BATCH if self._batches else 1
        group: list[Decoded] = []
        pixels_left = 0
        for index, picture in enumerate(pictures):
            with _clock(timings, "decode"), for_image(index, len(pictures)):
                decoded = decode(picture, size, self._max_pixels)
            pixels = decoded.image.width * decoded.image.height
            pixels_left -= pixels
            if len(group) == limit or pixels_left < 0:
                if group:
                    yield group
                group, pixels_left = [], self._max_pixels - pixels
            group.append(decoded)
        if group:
            yield group

    def infer(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> Tensors:
        """See `Runner.infer`."""
        check_inputs(self.inputs, inputs)
        names = check_outputs(self.outputs, outputs)
        timings = Timings()
        with _clock(timings, "inference"):
            arrays = self._open_session().infer(inputs, names)
        return Tensors(arrays, timings)

    def warm(self) -> None:
        """See `Runner.warm`: runs the first check picture `warm_up.runs` times."""
        name, picture = check_pictures(self._artifact)[0]
        with _refusing(f"warm-up on {name}"):
            for _ in range(self._artifact.config.warm_up.runs):
                self.predict([picture], self._family.check_options())

    def check(self) -> None:
        """See `Runner.check`: runs golden or generated pictures; the family must accept the outputs."""
        for name, picture in check_pictures(self._artifact):
            with _refusing(f"self-check on {name}"):
                self._check(picture)

    def close(self) -> None:
        """See `Runner.close`."""
        self._session = None

    def _check(self, picture: Picture) -> None:
        self.predict([picture], self._family.check_options())
        if self._session is not None and self._session.batch is None:
            self._batches = self._answers_two(picture)

    def _answers_two(self, picture: Picture) -> bool:
        self._batches = True
        try:
            self.predict([picture, picture], self._family.check_options())
        except ModelFailed:
            return False
        return True

    def _answer(self, decoded: Sequence[Decoded], options: Options, timings: Timings) -> list[Found]:
        """Run the graph once on a batch."""
        with _clock(timings, "preprocess"):
            tensor, geometries = self._preprocessor.make(decoded)
        with _clock(timings, "inference"):
            outputs = self._run(tensor, geometries, options)
        self._preprocessor.give_back(tensor)
        with _clock(timings, "postprocess"):
            return [self._read(_of_one(outputs, i), geometries[i], options) for i in range(len(decoded))]

    def _run(self, tensor: NDArray[Any], placed: Sequence[Geometry], options: Options) -> Outputs:
        session = self._open_session()
        inputs = {**self._family.feed(placed, options), session.picture: tensor}
        return session.run(inputs, self._names, len(tensor), self._family.unbounded)

    def _open_session(self) -> PictureGraph:
        if self._session is None:
            raise ModelFailed("the model is closed")
        return self._session

    def _read(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        try:
            self._family.check(outputs)
            return self._family.find(outputs, geometry, options)
        except ServingError:
            raise
        except Exception as error:  # noqa: BLE001 - odd outputs may raise anything in the arithmetic
            raise ModelFailed(f"the outputs cannot be read: {_first_line(error)}") from None

    def _prediction(self, decoded: Decoded, result: Found) -> Prediction:
        version = self._artifact.tag.version
        return Prediction(
            result.detections,
            version,
            decoded.width,
            decoded.height,
            embedding=result.embedding,
            tensors=result.tensors,
        )


def _of_one(outputs: Outputs, index: int) -> Outputs:
    return {name: array[index] for name, array in outputs.items()}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Turn a serving error of the block into the failure of the version."""
    try:
        yield
    except ServingError as error:
        raise VersionFailed(f"{where}: {error.message}") from None


@contextmanager
def _clock(timings: Timings, stage: str) -> Iterator[None]:
    """Add the duration of the block, in milliseconds, to one stage."""
    start = perf_counter()
    yield
    setattr(timings, stage, getattr(timings, stage) + (perf_counter() - start) * 1000)
