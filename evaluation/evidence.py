"""The pictures at hand when a version is judged: what versions answer for them, and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from evaluation.golden import HeldGolden, usual_options
from hotswap.errors import ServingError
from hotswap.gate import Result, Verdict, Version
from hotswap.predictions import Options, Picture, Prediction
from runners.check_images import generated_pictures

#: Pictures on which a version is compared at most, and seconds after which no further one is begun.
MOST_PICTURES, SECONDS = 8, 2.0
#: Of a comparison of times: rounds, pictures, and milliseconds by which what is slower is no reason.
_ROUNDS, _MOST_TIMED, _LEAST = 5, 4, 5.0
#: How much lower than its version's threshold an object may be scored and yet count as seen.
TOLERANCE = 0.2


@dataclass(frozen=True, slots=True)
class AtHand:
    """A picture that somebody has given for a model; `name` is its file's."""

    name: str
    picture: Picture


def at_hand(current: Version | None, candidate: Version, held: HeldGolden) -> list[AtHand]:
    """The golden pictures of the candidate, those held for its model, those of the current version.

    Each once, at most `MOST_PICTURES`, whether or not they say what is expected. Raises `OSError` where one
    cannot be read.
    """
    known: set[bytes] = set()
    pictures: list[AtHand] = []
    for name, data in _files(current, candidate, held):
        if data not in known and len(pictures) < MOST_PICTURES:
            known.add(data)
            pictures.append(AtHand(name, Picture(encoded=data)))
    return pictures


def _files(current: Version | None, candidate: Version, held: HeldGolden) -> Iterator[tuple[str, bytes]]:
    for golden in candidate.artifact.config.golden:
        yield golden.file, (candidate.artifact.path / golden.file).read_bytes()
    for golden, path in held(candidate.artifact.tag.name):
        yield golden.file, path.read_bytes()
    for golden in current.artifact.config.golden if current is not None else ():
        file = current.artifact.path / golden.file if current is not None else None
        if file is not None and file.exists():
            yield golden.file, file.read_bytes()


def sure(version: Version) -> float:
    """The score from which on the version's findings count."""
    return version.artifact.config.thresholds.score


def answer(version: Version, picture: Picture, options: Options) -> Prediction:
    """What a version says of a picture. Raises `ServingError`."""
    return version.runner.predict([picture], options).items[0]


def within_time(
    pictures: Sequence[AtHand], seconds: float = SECONDS, clock: Callable[[], float] = perf_counter
) -> Iterator[AtHand]:
    """The pictures, until the time is over; the first one in any case."""
    begun = clock()
    for place, each in enumerate(pictures):
        if place and clock() - begun > seconds:
            return
        yield each


class AnswersCheck:
    """Whether a version answers at all, with numbers, and differently for different pictures."""

    name = "answers"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`. Asked with the lowest threshold, so that what finds nothing answers, too."""
        pictures = list(within_time(at_hand(current, candidate, self._held)))
        if not pictures and current is not None:
            pictures = _generated(candidate)
        if not pictures:
            return Verdict(Result.PASS, "there is no picture at hand, and no version before it")
        options = usual_options(candidate, 0.0)
        try:
            answers = _different(candidate, pictures, options)
        except _NoAnswerError as error:
            return Verdict(Result.FAIL, str(error), {"pictures": len(pictures)})
        numbers = {"pictures": len(pictures), "different": answers}
        if answers > 1 or len(pictures) == 1:
            return Verdict(Result.PASS, f"{answers} different answers for {len(pictures)} pictures", numbers)
        said = f"the answer is the same for all {len(pictures)} pictures"
        if current is None:
            return Verdict(Result.INCONCLUSIVE, f"{said}, and there is no version before it", numbers)
        if _different(current, pictures, options) > 1:
            return Verdict(Result.FAIL, f"{said}; {current.artifact.tag} answers them differently", numbers)
        return Verdict(Result.PASS, f"{said}, as with {current.artifact.tag}", numbers)


def _generated(version: Version) -> list[AtHand]:
    """The pictures of the self-check; none where the version takes no pictures."""
    size = version.artifact.config.picture
    if size is None:
        return []
    made = generated_pictures(size.width, size.height)
    return [AtHand(f"the generated picture {name}", picture) for name, picture in made]


class _NoAnswerError(Exception):
    pass


def _different(version: Version, pictures: Sequence[AtHand], options: Options) -> int:
    """How many different answers a version has for different pictures."""
    answers = set()
    for each in pictures:
        try:
            answers.add(_content(answer(version, each.picture, options)))
        except ServingError as error:
            raise _NoAnswerError(f"it cannot answer {each.name}: {error.message}") from None
    return len(answers)


def _content(prediction: Prediction) -> tuple[object, ...]:
    """What an answer says, rounded; two answers that say the same have the same."""
    found = tuple(
        (each.label, round(each.score, 5), each.bbox and tuple(round(side, 4) for side in each.bbox))
        for each in prediction.detections
    )
    vector = None if prediction.embedding is None else prediction.embedding.round(5).tobytes()
    arrays = tuple((name, each.tobytes()) for name, each in (prediction.tensors or {}).items())
    return found, vector, arrays, repr(prediction.result)


class LatencyCheck:
    """Whether a version is not much slower than the one before it, on the pictures at hand."""

    name = "latency"

    def __init__(self, held: HeldGolden = lambda _: ()) -> None:
        self._held = held

    def judge(self, current: Version | None, candidate: Version) -> Verdict:
        """See `Check.judge`. Times are in milliseconds."""
        pictures = at_hand(current, candidate, self._held)[:_MOST_TIMED]
        if current is None or not pictures:
            return Verdict(Result.PASS, "there is nothing to compare with")
        options = usual_options(candidate)
        before, after = [], []
        for each in within_time(pictures * _ROUNDS):
            before.append(_milliseconds(current, each.picture, options))
            after.append(_milliseconds(candidate, each.picture, options))
        return _compared(median(before), median(after), candidate.artifact.config.gate.slowdown)


def _milliseconds(version: Version, picture: Picture, options: Options) -> float:
    begun = perf_counter()
    version.runner.predict([picture], options)
    return (perf_counter() - begun) * 1e3


def _compared(before: float, after: float, slowdown: float) -> Verdict:
    numbers = {"before_ms": round(before, 3), "after_ms": round(after, 3)}
    said = f"takes {after:.1f} ms for a picture, the version before {before:.1f} ms"
    if after > slowdown * before and after - before > _LEAST:
        return Verdict(Result.FAIL, f"{said}; at most {slowdown:g} times as long is allowed", numbers)
    return Verdict(Result.PASS, said, numbers)
