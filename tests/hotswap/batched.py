"""A played runner that takes pictures of several requests in one run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from hotswap.errors import ServingError
from hotswap.predictions import Options, Picture, Predictions
from hotswap.repository import Artifact
from manifest.version_manifest import BatchingConfig
from tests.hotswap import fakes, world
from tests.hotswap.fake_models import FakeLoader, FakeRunner


class BatchedRunner(FakeRunner):
    """`together` has the size of each batch. A picture of no bytes is broken."""

    batches = True

    @property
    def together(self) -> list[int]:
        """The sizes of its batches so far."""
        return self.__dict__.setdefault("_together", [])

    def predict_each(
        self, requests: Sequence[Sequence[Picture]], options: Options
    ) -> list[Predictions | Exception]:
        """As `predict` for each."""
        self.together.append(len(requests))
        return [self._one(request, options) for request in requests]

    def _one(self, request: Sequence[Picture], options: Options) -> Predictions | Exception:
        try:
            return self.predict([request[0]], options)
        except ServingError as error:
            return error


class BatchedLoader(FakeLoader):
    """Makes batched runners."""

    runner = BatchedRunner

    def load(self, artifact: Artifact) -> FakeRunner:
        """A runner of that version."""
        plain = super().load(artifact)
        made = BatchedRunner(plain.tag, plain.code, plain.hold)
        made.fails = plain.fails
        self.made[-1] = made
        return made


@contextmanager
def batching(**asked: int) -> Iterator[None]:
    """Within, every played version asks for batches and can run them."""
    config = fakes._CONFIG.model_copy(update={"batching": BatchingConfig.model_validate(asked)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fakes, "_CONFIG", config)
        patch.setattr(world, "FakeLoader", BatchedLoader)
        yield
