"""Several workers of one service in one process, each turned by the test, on one real board."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hotswap.coordination import Decision
from hotswap.desired import set_target
from hotswap.errors import ServingError
from hotswap.gate import Gate
from hotswap.guard import Guard
from hotswap.resident_models import MemoryRules
from hotswap.slot import NotSwitched
from tests.hotswap.fakes import FakeSource
from tests.hotswap.world import World
from tests.support.desired_memory import DesiredMemory
from workers.coordinator import SharedCoordinator
from workers.membership import WorkerTable
from workers.shared_residency import SharedTable


class Living(WorkerTable):
    """Seats whose processes live as the test says."""

    def __init__(self, folder: Path, count: int) -> None:
        super().__init__(folder, count)
        self.alive: set[int] = set()

    def living(self) -> tuple[int, ...]:
        """Those that the test lets live."""
        return tuple(sorted(self.alive))


class Killed(BaseException):
    """The process ends here."""


def kill() -> None:
    """End the process, as far as a test can."""
    raise Killed


class Board(SharedCoordinator):
    """A board that does something just before or just after a step, once: `at` says where and what."""

    def __init__(self, folder: Path, seats: WorkerTable, seat: int) -> None:
        super().__init__(folder, seats, seat)
        self.at: tuple[str, Callable[[], None]] = ("", kill)

    def propose(self, name: str, wanted: Decision) -> None:
        """May stop before or after."""
        self._maybe("before propose")
        super().propose(name, wanted)
        self._maybe("after propose")

    def decide(self, name: str, wanted: Decision) -> Decision:
        """May stop before or after."""
        self._maybe("before decide")
        decided = super().decide(name, wanted)
        self._maybe("after decide")
        return decided

    def reach(self, name: str, number: int) -> None:
        """May stop after."""
        super().reach(name, number)
        self._maybe("after reach")

    def _maybe(self, place: str) -> None:
        stop_at, act = self.at
        if stop_at == place:
            self.at = ("", kill)
            act()


#: Every place between two steps of a swap.
PLACES = ("before propose", "after propose", "before decide", "after decide", "after reach")


class Workers:
    """`count` workers on one store, one desired state, one board."""

    def __init__(
        self,
        folder: Path,
        count: int,
        *tags: str,
        memory: MemoryRules | None = None,
        gate: Callable[[], Gate] = Gate,
        guard: Guard | None = None,
    ) -> None:
        """`gate` makes the gate of each worker; all have the same guard."""
        self.folder = folder
        self.memory = memory
        self.gate = gate
        self.guard = guard
        self.joined: list[World] = []
        self.source = FakeSource()
        for tag in tags:
            self.source.add(tag)
        self.store = DesiredMemory()
        self.seats = Living(folder / "seats", 2 * count)
        self.worlds = [self.join(seat) for seat in range(count)]

    def join(self, seat: int) -> World:
        """A worker that has just started."""
        self.seats.alive.add(seat)
        table = SharedTable(self.folder / "residency", self.seats, seat)
        world = World(
            source=self.source,
            store=self.store,
            coordinator=self.view(seat),
            table=table,
            memory=self.memory,
            gate=self.gate(),
            guard=self.guard,
        )
        self.joined.append(world)
        return world

    def view(self, seat: int) -> Board:
        """What a worker on that seat sees of the board."""
        return Board(self.folder / "commits", self.seats, seat)

    def close(self) -> None:
        """Give back the descriptors of what is mapped, which would stay until the next whole collection."""
        shared: list[object] = [self.seats]
        for world in self.joined:
            shared += [world.reconciler.observed.coordinator, world.reconciler.observed.table]
        for each in shared:
            for value in list(vars(each).values()):
                for view in value.values() if isinstance(value, dict) else [value]:
                    if isinstance(view, memoryview):
                        view.release()

    def board(self, index: int) -> Board:
        """The board of one worker."""
        board = self.worlds[index].reconciler.observed.coordinator
        assert isinstance(board, Board)
        return board

    def settle(self, *indexes: int) -> None:
        """Turn these (none named: all) until none has anything to do."""
        chosen = [self.worlds[index] for index in indexes or range(len(self.worlds))]
        for _ in range(20):
            for world in chosen:
                world.step()
                world.background.run_all()
            if all(world.reconciler.view.idle for world in chosen):
                return
        raise AssertionError("they never come to rest")

    def load(self, index: int) -> None:
        """Let one worker load what it wants, and take it in."""
        world = self.worlds[index]
        world.step()
        world.background.run_all()
        world.step()

    def aim(self, target: str, name: str = "m") -> None:
        """Edit the desired state, as a management call does."""
        self.store.edit(set_target(name, target, "test", None))

    def answers(self, index: int, name: str = "m") -> str | None:
        """The version that a request to one worker gets now; None: it waits; else the error's code."""
        reconciler = self.worlds[index].reconciler
        slot = reconciler.observed.slots.get(name)
        try:
            if slot is None:
                return None if reconciler.observed.coordinator.number(name) else "model_not_found"
            with slot.lease() as generation:
                return generation.tag.version
        except NotSwitched:
            return None
        except ServingError as error:
            return error.code

    def all(self, name: str = "m") -> list[str | None]:
        """What each worker answers."""
        return [self.answers(index, name) for index in range(len(self.worlds))]

    def numbers(self, name: str = "m") -> set[int]:
        """The generation numbers that the workers answer with."""
        return {world.number(name) for world in self.worlds}
