"""The runner of all families: decode, preprocess, run the graph, let the family read the outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

from numpy.typing import NDArray

from hotswap.errors import ModelFailed, ServingError, VersionFailed, for_image
from hotswap.predictions import Options, Picture, Prediction, Predictions, Tensors, Timings, Trial
from hotswap.repository import Artifact
from hotswap.runner import Placement, Stop
from runners.check_images import check_pictures
from runners.decode import Decoded, decode
from runners.families.base import Family, Found, Outputs
from runners.geometry import Geometry
from runners.preprocess import Preprocessor
from runners.seen_pictures import SeenBatch, SeenPictures, picture_key
from runners.session import TRIAL_LIMIT, Graphs, limited
from runners.tensors import check_inputs, check_outputs

#: Most pictures in one run of the graph: more are hardly faster each, and need their memory at once.
_MAX_BATCH = 8


class OnnxRunner:
    """One loaded version. Implements `hotswap.runner.Runner`."""

    def __init__(
        self,
        artifact: Artifact,
        graphs: Graphs,
        family: Family[Any],
        max_pixels: int,
        proven: dict[str, bool] | None = None,
    ) -> None:
        """`proven` holds the digests that passed the whole self-check in this process, and whether the graph
        takes batches: one that comes back is checked on one picture.
        """
        self._proven = {} if proven is None else proven
        self._artifact = artifact
        self._family = family
        self._max_pixels = max_pixels
        self.inputs = graphs.picture.input_specs
        self.outputs = graphs.picture.output_specs
        self.takes = family.takes
        family.connect(graphs.picture.inputs)
        self._names = family.reads(graphs.picture.outputs)
        self._preprocessor = Preprocessor(artifact.config.input)
        self._graphs: Graphs | None = graphs
        self._placed = graphs.placement
        self._seen = SeenPictures(family.remembered)
        # Exports often declare an open batch but fail for more than one picture: `check` tests it.
        self._batches = False

    @property
    def placement(self) -> Placement:
        """See `Runner.placement`."""
        graphs = self._graphs
        return self._placed if graphs is None else graphs.placement

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """See `Runner.predict`. Timings are sums over the pictures of this call."""
        self._family.accept(options)
        timings = Timings()
        items: list[Prediction] = []
        for seen in self._looked_at(pictures, options, timings):
            items += self._read_all(seen, options, timings)
        return Predictions(tuple(items), timings)

    @property
    def batches(self) -> bool:
        """See `BatchRunner.batches`: with `keep_aspect` the input is as large as its largest picture asks."""
        if self._family.remembered or self._artifact.config.input.resize.mode == "keep_aspect":
            return False
        return self._batches

    def predict_each(
        self, requests: Sequence[Sequence[Picture]], options: Options
    ) -> list[Predictions | Exception]:
        """See `BatchRunner.predict_each`. A run that fails is done again one by one.

        The timings of a request have its own decoding, and all of the run that it shares.
        """
        self._family.accept(options)
        outcomes: list[Predictions | Exception] = []
        group: list[tuple[int, Decoded, Timings]] = []
        pixels_left = self._max_pixels
        for request in requests:
            timings = Timings()
            decoded = self._decoded(request, timings)
            if isinstance(decoded, Exception):
                outcomes.append(decoded)
                continue
            pixels = decoded.image.width * decoded.image.height
            if group and pixels > pixels_left:
                self._answer_group(group, options, outcomes)
                group, pixels_left = [], self._max_pixels
            pixels_left -= pixels
            group.append((len(outcomes), decoded, timings))
            outcomes.append(ModelFailed("the picture was not answered"))
        if group:
            self._answer_group(group, options, outcomes)
        return outcomes

    def _decoded(self, request: Sequence[Picture], timings: Timings) -> Decoded | Exception:
        try:
            with _clock(timings, "decode"):
                return decode(request[0], self._preprocessor.resized, self._max_pixels)
        except ServingError as error:
            # Without the frames that hold the others' pictures.
            return error.with_traceback(None)

    def _answer_group(
        self,
        group: Sequence[tuple[int, Decoded, Timings]],
        options: Options,
        outcomes: list[Predictions | Exception],
    ) -> None:
        """Run decoded pictures at once, and put the answers in their places."""
        try:
            shared = Timings()
            seen = self._see([decoded for _, decoded, _ in group], options, shared)
            answers = self._read_all(seen, options, shared)
            for (place, _, own), answer in zip(group, answers, strict=True):
                outcomes[place] = Predictions((answer,), replace(shared, decode=own.decode), len(group))
        except ServingError as error:
            if len(group) == 1:
                outcomes[group[0][0]] = error.with_traceback(None)
                return
            for one in group:
                self._answer_group([one], options, outcomes)

    def _read_all(self, seen: SeenBatch, options: Options, timings: Timings) -> list[Prediction]:
        results = self._answer(seen, options, timings)
        return [self._prediction(*pair) for pair in zip(seen.sizes, results, strict=True)]

    def _looked_at(
        self, pictures: Sequence[Picture], options: Options, timings: Timings
    ) -> Iterator[SeenBatch]:
        """The outputs of the graph for pictures, batch by batch, or one by one where they are remembered."""
        if not self._family.remembered:
            for decoded in self._groups(pictures, timings):
                yield self._see(decoded, options, timings)
            return
        for index, picture in enumerate(pictures):
            key = picture_key(picture)
            seen = self._seen.get(key)
            if seen is None:
                with for_image(index, len(pictures)):
                    (decoded,) = self._groups([picture], timings)
                seen = self._see(decoded, options, timings)
                self._seen.keep(key, seen)
            yield seen

    def _groups(self, pictures: Sequence[Picture], timings: Timings) -> Iterator[list[Decoded]]:
        """Decoded batches, one per run of the graph. A batch has at most `max_pixels` pixels in all."""
        size = self._preprocessor.resized
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

    def infer(
        self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], stop: Stop | None = None
    ) -> Tensors:
        """See `Runner.infer`."""
        check_inputs(self.inputs, inputs)
        names = check_outputs(self.outputs, outputs)
        timings = Timings()
        with _clock(timings, "inference"):
            arrays = self._open_graphs().picture.infer(inputs, names, stop)
        return Tensors(arrays, timings)

    def warm(self) -> None:
        """See `Runner.warm`: runs the first check picture `warm_up.runs` times."""
        name, picture = check_pictures(self._artifact)[0]
        with _refusing(f"warm-up on {name}"), limited(self._open_graphs().all, TRIAL_LIMIT):
            for _ in range(self._artifact.config.warm_up.runs):
                self.predict([picture], self._family.check_options())

    def check_options(self) -> Options:
        """Options that every picture can be asked with."""
        return self._family.check_options()

    def check(self) -> None:
        """See `Runner.check`: runs golden or generated pictures; the family must accept the outputs."""
        digest, pictures = self._artifact.digest, check_pictures(self._artifact)
        known = self._proven.get(digest)
        with limited(self._open_graphs().all, TRIAL_LIMIT):
            for name, picture in pictures if known is None else pictures[:1]:
                with _refusing(f"self-check on {name}"):
                    self._check(picture, known)
        self._proven[digest] = self._batches

    def trials(self) -> list[Trial]:
        """See `Runner.trials`: golden or generated pictures."""
        options = self._family.check_options()
        return [Trial(picture, options) for _, picture in check_pictures(self._artifact)]

    def close(self) -> None:
        """See `Runner.close`."""
        self._graphs = None
        self._seen.clear()

    def _check(self, picture: Picture, takes_batches: bool | None) -> None:
        self.predict([picture], self._family.check_options())
        if takes_batches is not None:
            self._batches = takes_batches
        elif self._open_graphs().picture.batch is None:
            self._batches = self._answers_two(picture)

    def _answers_two(self, picture: Picture) -> bool:
        self._batches = True
        try:
            self.predict([picture, picture], self._family.check_options())
        except ModelFailed:
            return False
        return True

    def _see(self, decoded: Sequence[Decoded], options: Options, timings: Timings) -> SeenBatch:
        """Run the graph for pictures once on a batch."""
        with _clock(timings, "preprocess"):
            tensor, placed = self._preprocessor.make(decoded)
        with _clock(timings, "inference"):
            graph = self._open_graphs().picture
            inputs = {**self._family.feed(placed, options), graph.picture: tensor}
            outputs = graph.run(inputs, self._names, len(placed), self._family.unbounded)
        self._preprocessor.give_back(tensor)
        return SeenBatch(outputs, placed, [(each.width, each.height) for each in decoded])

    def _answer(self, seen: SeenBatch, options: Options, timings: Timings) -> list[Found]:
        with _clock(timings, "inference"), _readable():
            others = self._open_graphs().others
            outputs = self._family.complete(seen.outputs, others, seen.placed, options)
        with _clock(timings, "postprocess"), _readable():
            return [
                self._read(_of_one(outputs, index), geometry, options)
                for index, geometry in enumerate(seen.placed)
            ]

    def _open_graphs(self) -> Graphs:
        if self._graphs is None:
            raise ModelFailed("the model is closed")
        return self._graphs

    def _read(self, outputs: Outputs, geometry: Geometry, options: Options) -> Found:
        self._family.check(outputs)
        return self._family.find(outputs, geometry, options)

    def _prediction(self, size: tuple[int, int], result: Found) -> Prediction:
        version = self._artifact.tag.version
        return Prediction(
            result.detections,
            version,
            *size,
            embedding=result.embedding,
            tensors=result.tensors,
            task=self._artifact.config.task,
        )


def _of_one(outputs: Outputs, index: int) -> Outputs:
    return {name: array[index] for name, array in outputs.items()}


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what the arithmetic of the block raises into `ModelFailed`: odd outputs may raise anything."""
    try:
        yield
    except ServingError:
        raise
    except Exception as error:  # noqa: BLE001 - see above
        raise ModelFailed(f"the outputs cannot be read: {_first_line(error)}") from None


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
