"""The training loop: from a drawn training set to an ONNX file that keeps getting better."""

import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax

from .dataset import Batch, batches
from .export import write
from .losses import loss
from .network import Params, fresh_params


class Course(NamedTuple):
    """How to train: the start, how many steps, how much at once, how fast, where to save."""

    seed: int
    steps: int
    batch: int
    rate: float
    every: int
    out: Path


def recipe(course: Course) -> optax.GradientTransformation:
    """Adam whose rate rises shortly, then falls to nothing at the last step."""
    warming = max(1, course.steps // 20)
    rate = optax.warmup_cosine_decay_schedule(0.0, course.rate, warming, course.steps)
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(rate, weight_decay=1e-4))


class Learner:
    """Parameters and the optimiser's memory of them."""

    def __init__(self, course: Course) -> None:
        self.params = fresh_params(course.seed)
        self._optimiser = recipe(course)
        self._memory = self._optimiser.init(self.params)
        self._step = jax.jit(self._improved)

    def learn(self, batch: Batch) -> jax.Array:
        """Improve on one batch; what it cost before."""
        price: jax.Array
        self.params, self._memory, price = self._step(self.params, self._memory, batch)
        return price

    def _improved(
        self, params: Params, memory: optax.OptState, batch: Batch
    ) -> tuple[Params, optax.OptState, jax.Array]:
        price, slope = jax.value_and_grad(loss)(params, *batch)
        change, memory = self._optimiser.update(slope, memory, params)
        return optax.apply_updates(params, change), memory, price


def report(text: str, last: bool) -> None:
    """Show how far training is: on one line of a terminal, else as a log's lines."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="\n" if last else "", file=sys.stderr, flush=True)
    else:
        print(text, flush=True)


def train(data: Batch, course: Course) -> Params:
    """The parameters after the last step; the file is rewritten whole every few steps."""
    learner, started = Learner(course), time.monotonic()
    supply = batches(np.random.default_rng(course.seed), data, course.batch)
    for step in range(1, course.steps + 1):
        price = learner.learn(next(supply))
        if step % course.every == 0 or step == course.steps:
            write(learner.params, course.out)
            spent = time.monotonic() - started
            text = f"step {step}/{course.steps}  loss {float(price):.3f}  {spent:.0f} s"
            report(text, step == course.steps)
    return learner.params
