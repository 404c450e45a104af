"""Scores an ONNX file on held-out drawings: AP50 of each label and their mean.

Run as `python -m examples.shapes.evaluate weights.onnx`. Needs onnxruntime, numpy and Pillow only.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from .decoding import Detection, decode, overlap, shrink, to_input
from .drawing import HELD_OUT_SEED, LABELS, Scene, Truth, numbered_scene

FAINTEST = 0.02
MATCH = 0.5
Answer = tuple[list[Truth], list[Detection]]


class Detector:
    """A served file on one processor core."""

    def __init__(self, weights: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(weights, options, ["CPUExecutionProvider"])

    def raw(self, scene: Scene) -> np.ndarray:
        """The network's output for one picture, [8,16,16]."""
        image = to_input(shrink(scene.picture)[None])
        answers: list[np.ndarray] = self._session.run(["predictions"], {"image": image})[0]
        return answers[0]

    def find(self, scene: Scene, threshold: float) -> list[Detection]:
        """The shapes found in one picture, best first."""
        return decode(self.raw(scene), threshold)


def marks(answer: Answer, label: int) -> list[tuple[float, bool]]:
    """Each detection's score and whether it hit a shape no better detection had hit."""
    truths = np.array([truth.box for truth in answer[0] if truth.label == label]).reshape(-1, 4)
    free, marked = np.ones(len(truths), bool), []
    for detection in answer[1]:
        if detection.label == label:
            fits = overlap(np.array(detection.box), truths) * free
            hit = bool(fits.size and fits.max() >= MATCH)
            marked.append((detection.score, hit))
            if hit:
                free[fits.argmax()] = False
    return marked


def average_precision(marked: Iterable[tuple[float, bool]], truths: int) -> float:
    """The area under precision over recall, at every point of it."""
    hits = np.array([hit for _, hit in sorted(marked, key=lambda mark: -mark[0])], bool)
    gained = np.cumsum(hits)
    precision = gained / np.arange(1, len(hits) + 1)
    # Precision at a recall is the best reached at that recall or any higher one.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best[hits].sum() / truths)


def ap50(answers: Sequence[Answer]) -> dict[str, float]:
    """AP50 of each label, and their mean under `mean`."""
    scores = {}
    for label, name in enumerate(LABELS):
        truths = sum(truth.label == label for answer in answers for truth in answer[0])
        marked = [mark for answer in answers for mark in marks(answer, label)]
        scores[name] = average_precision(marked, truths)
    return scores | {"mean": sum(scores.values()) / len(scores)}


def milliseconds(detector: Detector, scene: Scene, rounds: int = 100) -> float:
    """The usual time from picture to detections on one core."""
    spent = []
    for _ in range(rounds):
        started = time.perf_counter()
        detector.find(scene, 0.5)
        spent.append(time.perf_counter() - started)
    return float(np.median(spent) * 1000)


def main() -> None:
    """Score an ONNX file on held-out drawings."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    arguments = parser.parse_args()
    detector = Detector(arguments.weights)
    scenes = [numbered_scene(arguments.seed, index) for index in range(arguments.scenes)]
    answers = [(scene.truths, detector.find(scene, FAINTEST)) for scene in scenes]
    scores = {name: round(score, 4) for name, score in ap50(answers).items()}
    options = {"scenes": arguments.scenes, "seed": arguments.seed}
    print(json.dumps({"ap50": scores, "ms": round(milliseconds(detector, scenes[0]), 2)} | options))


if __name__ == "__main__":
    main()
