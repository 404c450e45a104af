"""A runner is closed when nobody uses it any more."""

from __future__ import annotations

import pytest

from hotswap.generation import Generation, Lease, State
from manifest.tags import ModelTag
from tests.hotswap.fake_models import FakeRunner
from tests.hotswap.fakes import artifact


class Made:
    """One generation, its runner, and how often it drained."""

    def __init__(self) -> None:
        tag = ModelTag("m", "v1")
        self.runner = FakeRunner(tag, 1)
        self.drained = 0
        self.generation = Generation(artifact(tag), self.runner, self._count)

    def _count(self, _: Generation) -> None:
        self.drained += 1

    def borrowed(self) -> Lease:
        assert self.generation.borrow()
        return Lease(self.generation)


@pytest.fixture
def made() -> Made:
    return Made()


def test_nobody_borrows_it_before_it_is_opened(made: Made) -> None:
    assert not made.generation.borrow()
    made.generation.open(4)
    assert made.generation.borrow()
    assert (made.generation.state, made.generation.number) == (State.SERVING, 4)


def test_it_drains_when_the_last_lease_is_back_and_not_before(made: Made) -> None:
    made.generation.open(1)
    first, second = made.borrowed(), made.borrowed()
    made.generation.retire()
    first.release()
    assert made.drained == 0
    second.release()
    assert (made.drained, made.generation.leases) == (1, 0)


def test_it_drains_at_once_when_nobody_uses_it_and_only_once(made: Made) -> None:
    made.generation.open(1)
    made.generation.retire()
    made.generation.retire()
    assert made.drained == 1


def test_leases_that_come_back_while_it_serves_drain_nothing(made: Made) -> None:
    made.generation.open(1)
    made.borrowed().release()
    assert made.drained == 0


def test_a_lease_ends_once_however_often_it_is_released(made: Made) -> None:
    made.generation.open(1)
    with (lease := made.borrowed()) as generation:
        assert generation.leases == 1
    lease.release()
    assert made.generation.leases == 0


def test_it_refuses_to_close_under_a_lease(made: Made) -> None:
    made.generation.open(1)
    lease = made.borrowed()
    with pytest.raises(RuntimeError, match="1 leases"):
        made.generation.close()
    assert made.runner.closed == 0
    lease.release()
    made.generation.close()
    assert made.runner.closed == 1


def test_a_closed_one_has_no_runner_and_closes_only_once(made: Made) -> None:
    made.generation.open(1)
    made.generation.close()
    made.generation.close()
    assert (made.runner.closed, made.generation.state) == (1, State.CLOSED)
    assert not made.generation.borrow()
    with pytest.raises(RuntimeError, match="closed"):
        _ = made.generation.runner
