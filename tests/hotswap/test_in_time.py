"""Pictures whose caller has had to be told that it took too long are not looked at any more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hotswap.errors import DeadlineExceeded
from hotswap.predictions import DeadlineBoundImages, Options, Picture, Predictions
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import Hold
from tests.hotswap.served import Served
from tests.hotswap.world import asked

PICTURES = tuple(Picture(encoded=each) for each in (b"one", b"two", b"three"))


class Looking(FakeRunner):
    """Takes one picture after the other, as runners do, and stops at each."""

    seen: list[bytes | None]
    at_each: Hold

    def predict(self, pictures: Sequence[Picture], options: Options) -> Predictions:
        """What it would say, when it has seen them all."""
        for picture in pictures:
            self.seen.append(picture.encoded)
            self.at_each.stop_here()
        return super().predict(pictures, options)


@pytest.mark.anyio
async def test_a_thread_goes_no_further_once_the_deadline_has_passed() -> None:
    world = Served("m:v1", threads=1)
    world.settle()
    runner = world.loader.of("v1")
    runner.__class__ = Looking
    runner.seen, runner.at_each = [], Hold()  # type: ignore[attr-defined]
    await _too_late(world, runner)
    runner.at_each.reached()  # type: ignore[attr-defined]
    runner.at_each.let_go()  # type: ignore[attr-defined]
    answer = await world.plane.predict(replace(asked(), pictures=PICTURES))
    assert len(answer.predictions) == 3
    assert runner.seen == [b"one", b"one", b"two", b"three"]  # type: ignore[attr-defined]
    await world.end()


async def _too_late(world: Served, runner: FakeRunner) -> None:
    """Ask with ever more time, until the thread stands at the first picture when it is over."""
    for seconds in (0.2, 0.8, 3.2):
        if not runner.seen:  # type: ignore[attr-defined]
            with pytest.raises(DeadlineExceeded, match="send fewer"):
                await world.plane.predict(replace(asked(seconds=seconds), pictures=PICTURES))


def test_what_is_handed_out_in_time_are_the_pictures() -> None:
    pictures = DeadlineBoundImages(PICTURES, time.monotonic() + 60)
    assert (len(pictures), tuple(pictures), pictures[-1]) == (3, PICTURES, PICTURES[-1])
    assert tuple(pictures[1:]) == PICTURES[1:]
    late = DeadlineBoundImages(PICTURES, time.monotonic())
    assert len(late) == 3
    for asking in (lambda: late[0], lambda: list(late), lambda: late[1:][0]):
        with pytest.raises(DeadlineExceeded):
            asking()
