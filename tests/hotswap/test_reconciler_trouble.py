"""Disks, listeners and models that fail around the reconciler: it goes on."""

from __future__ import annotations

from hotswap.desired import DesiredState, Edit
from tests.hotswap.world import World
from tests.support.desired_memory import DesiredMemory


class BrokenStore(DesiredMemory):
    """Cannot be written, or neither written nor read, as long as the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.unreadable = self.read_only = False

    def read(self) -> DesiredState:
        """Raise if told to."""
        if self.unreadable:
            raise OSError("the disk is gone")
        return super().read()

    def edit(self, change: Edit) -> DesiredState:
        """Raise if told to."""
        if self.read_only:
            raise OSError("no space left")
        return super().edit(change)


def test_while_the_desired_state_cannot_be_read_what_was_read_last_holds() -> None:
    store = BrokenStore()
    world = World("m:v1", store=store)
    world.settle()
    store.unreadable = True
    world.source.add("m:v2")
    world.settle()
    assert world.serving() == "v2"
    assert "the disk is gone" in str(world.reconciler.observed.trouble)
    store.unreadable = False
    world.settle()
    assert (world.serving(), world.reconciler.observed.trouble) == ("v2", None)


def test_before_the_desired_state_was_ever_read_nothing_is_loaded() -> None:
    store = BrokenStore()
    store.unreadable = True
    world = World("m:v1", store=store)
    world.settle()
    assert world.serving() is None
    store.unreadable = False
    world.settle()
    assert world.serving() == "v1"


def test_a_desired_state_that_cannot_be_written_stops_no_swap() -> None:
    store = BrokenStore()
    store.read_only = True
    world = World("m:v1", store=store)
    world.settle()
    assert (world.serving(), world.reconciler.observed.desired.default) == ("v1", "m")
    world.source.add("m:v2")
    world.settle()
    assert (world.serving(), world.number()) == ("v2", 2)


def test_listeners_that_raise_stop_neither_a_swap_nor_the_looking() -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no")

    world = World("m:v1")
    for name in ("loaded", "published", "closed", "failed"):
        setattr(world.observer, name, broken)
    told: list[int] = []
    world.reconciler.on_step += [broken, lambda: told.append(world.reconciler.schedule.ended)]
    world.settle()
    world.source.add("m:v2")
    world.settle()
    assert (world.serving(), world.loader.of("v1").closed, len(world.loader.made)) == ("v2", 1, 2)
    assert told[-1] == world.reconciler.schedule.ended


def test_whoever_watches_is_told_when_a_version_has_been_closed() -> None:
    world = World("m:v1")
    world.settle()
    world.source.add("m:v2")
    world.settle()
    world.reconciler.wait(0)
    lease = world.reconciler.observed.slots["m"].lease()
    world.swap("m", "v1")
    world.reconciler.wait(0)
    lease.release()
    world.background.run_all()
    assert world.reconciler.schedule._woken.is_set()


def test_a_model_that_cannot_be_closed_is_forgotten_all_the_same() -> None:
    world = World("m:v1")
    world.loader.fails["v1"] = {"close": OSError("stuck")}
    world.settle()
    world.source.add("m:v2")
    world.settle()
    assert (world.serving(), world.reconciler.observed.slots["m"].draining) == ("v2", ())
