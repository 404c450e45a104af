"""Who shares a batch, decided without threads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hotswap.batcher import BatchKey, batch_key, companions, seconds_to_wait
from hotswap.generation import Generation
from hotswap.predictions import Options
from manifest.tags import ModelTag
from manifest.version_manifest import BatchingConfig
from tests.hotswap.batched import BatchedRunner
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact

TAG = ModelTag("m", "v1")


def generation(runner: FakeRunner | None = None, **batching: Any) -> Generation:
    """A loaded version whose config asks for batches, if anything is given."""
    plain = artifact(TAG)
    config = plain.config.model_copy(update={"batching": BatchingConfig(**batching) if batching else None})
    return Generation(replace(plain, config=config), runner or BatchedRunner(TAG, 1), lambda _: None)


def key(of: Generation, options: Options = Options(), size: int = 4) -> BatchKey:  # noqa: B008 - frozen
    return BatchKey(of, options, size, 0.01)


@pytest.mark.parametrize(
    ("asked", "bound", "size"),
    [
        ({}, None, None),
        ({"max_size": 1}, None, None),
        ({"max_size": 8}, None, 8),
        ({"max_size": 8}, 4, 4),
        ({"max_size": 4}, 8, 4),
        ({"max_size": 8}, 1, None),
    ],
)
def test_a_batch_is_as_large_as_both_config_and_service_allow(
    asked: dict[str, int], bound: int | None, size: int | None
) -> None:
    found = batch_key(generation(**asked), Options(), 1, bound)
    assert (found and found.size) == size


def test_requests_run_alone_that_have_several_pictures_or_a_graph_for_one() -> None:
    assert batch_key(generation(max_size=8), Options(), 2, None) is None
    assert batch_key(generation(FakeRunner(TAG, 1), max_size=8), Options(), 1, None) is None
    closed = BatchedRunner(TAG, 1)
    closed.batches = False
    assert batch_key(generation(closed, max_size=8), Options(), 1, None) is None


def test_only_the_same_generation_with_equal_options_shares_a_batch() -> None:
    mine, other = generation(max_size=4), generation(max_size=4)
    waiting = [
        key(other),
        key(mine),
        None,
        key(mine, Options(threshold=0.5)),
        key(mine, Options()),
        key(mine),
    ]
    assert companions(key(mine), waiting, room=8) == [1, 4, 5]
    assert companions(key(mine), waiting, room=2) == [1, 4]
    assert companions(key(mine), waiting, room=0) == []


def test_a_batch_waits_from_its_first_member_on_and_not_when_it_is_full() -> None:
    mine = key(generation(max_size=4))
    assert seconds_to_wait(mine, 1, since=5.0, now=5.004) == pytest.approx(0.006)
    assert seconds_to_wait(mine, 1, since=5.0, now=5.02) == 0.0
    assert seconds_to_wait(mine, 4, since=5.0, now=5.0) == 0.0
