"""The agreement: the first decision holds, the highest number holds, nobody waits for who is gone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from hotswap.coordination import Coordinator, Decision, LocalCoordinator, Quorum
from workers.coordinator import SharedCoordinator
from workers.membership import WorkerTable

V1, V2 = Decision(1, "v1", "sha256:1"), Decision(1, "v2", "sha256:2")

Make = Callable[[int], SharedCoordinator]


@pytest.fixture
def seats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerTable:
    """Seats whose first beat lasts for the test: a slow disk makes nobody count as stopped."""
    monkeypatch.setattr("workers.membership.STOPPED", 30.0)
    return WorkerTable(tmp_path / "seats", 4)


@pytest.fixture
def make(tmp_path: Path, seats: WorkerTable) -> Make:
    """The view of one seat."""
    return lambda seat: SharedCoordinator(tmp_path / "commits", seats, seat)


@pytest.fixture(params=["alone", "board"])
def commits(request: pytest.FixtureRequest, make: Make) -> Coordinator:
    return LocalCoordinator() if request.param == "alone" else make(0)


def test_before_the_first_decision_there_is_nothing(commits: Coordinator) -> None:
    assert commits.number("m") == 0
    assert commits.decision("m", 1) is None


@pytest.mark.parametrize("name", ["../m", "a/b", "", ".", "M", "m" * 64])
def test_what_is_no_name_has_no_number(commits: Coordinator, name: str) -> None:
    assert commits.number(name) == 0


def test_the_first_decision_holds(commits: Coordinator) -> None:
    assert commits.decide("m", V1).version == "v1"
    assert commits.decide("m", V2).version == "v1"
    again = commits.decision("m", 1)
    assert again is not None
    assert (again.number, again.version, again.void) == (1, "v1", False)


@pytest.mark.parametrize(("decision", "version"), [(Decision(1), None), (Decision(1, void=True), None)])
def test_nobody_and_nothing_can_be_decided(
    commits: Coordinator, decision: Decision, version: str | None
) -> None:
    commits.decide("m", decision)
    found = commits.decision("m", 1)
    assert found is not None
    assert (found.version, found.void) == (version, decision.void)


def test_the_highest_number_holds_and_models_are_apart(commits: Coordinator) -> None:
    for number in (3, 2):
        commits.decide("m", Decision(number, "v1"))
        commits.reach("m", number)
    assert (commits.number("m"), commits.number("n")) == (3, 0)


def test_old_decisions_are_forgotten_and_recent_ones_kept(commits: Coordinator) -> None:
    for number in range(1, 41):
        commits.decide("m", Decision(number, "v1"))
        commits.reach("m", number)
    kept = [number for number in range(1, 41) if commits.decision("m", number) is not None]
    assert kept == list(range(25, 41))


def test_what_holds_is_never_forgotten_nor_what_was_made_void_since(commits: Coordinator) -> None:
    commits.decide("m", Decision(1, "v1"))
    commits.reach("m", 1)
    for number in range(2, 41):
        commits.decide("m", Decision(number, void=True))
    assert all(commits.decision("m", number) is not None for number in range(1, 41))


def test_every_seat_sees_the_highest_number_of_all(make: Make) -> None:
    one, two = make(0), make(1)
    one.reach("m", 5)
    two.reach("m", 4)
    assert (one.number("m"), two.number("m")) == (5, 5)


def test_the_living_who_do_not_propose_the_same_are_missing(make: Make, seats: WorkerTable) -> None:
    mine, other = seats.take(), seats.take()
    one, two = make(mine.index), make(other.index)
    one.propose("m", V1)
    assert one.quorum("m", V1, 0).missing == (other.index,)
    two.propose("m", V2)
    assert one.quorum("m", V1, 0).missing == (other.index,)
    two.propose("m", Decision(1, "v1", "sha256:other files"))
    assert one.quorum("m", V1, 0).missing == (other.index,)
    two.propose("m", Decision(2, "v1", "sha256:1"))
    assert one.quorum("m", V1, 0).missing == (other.index,)
    two.propose("m", V1)
    assert one.quorum("m", V1, 0).missing == ()
    two.propose("m", V2)
    other.rest()
    assert one.quorum("m", V1, 0).missing == ()


def test_a_refusal_holds_for_its_wish_until_the_next_proposal(make: Make, seats: WorkerTable) -> None:
    mine, other = seats.take(), seats.take()
    one, two = make(mine.index), make(other.index)
    one.propose("m", V1)
    two.refuse("m", "v1", 7, "no memory for it")
    assert one.quorum("m", V1, 7).refusals == (f"worker {other.index}: no memory for it",)
    assert one.refusals("m", "v1", 8) == one.refusals("m", "v2", 7) == ()
    two.propose("m", V1)
    assert one.refusals("m", "v1", 7) == ()


def test_who_refuses_the_candidate_refuses_the_split(make: Make, seats: WorkerTable) -> None:
    mine, other = seats.take(), seats.take()
    one, two = make(mine.index), make(other.index)
    split = Decision(2, "v1", "sha256:1", candidate="v2", candidate_digest="sha256:2", share=0.1)
    one.propose("m", split)
    two.refuse("m", "v2", 7, "no memory for it")
    assert one.quorum("m", split, 7).refusals == (f"worker {other.index}: no memory for it",)
    two.propose("m", split)
    assert one.quorum("m", split, 7) == Quorum((), ())


def test_a_full_place_for_files_still_lets_decisions_be_made(make: Make, tmp_path: Path) -> None:
    board = make(0)
    long = Decision(2**40, "v" * 63, "sha256:" + "f" * 64)
    board.decide("m", long)
    # A file system keeps a link this short in its own entry: it needs no room.
    assert len(str((tmp_path / "commits" / "m" / str(2**40)).readlink())) < 128
    board.decide("m", Decision(1, "v2", "sha256:" + "f" * 64))
    assert len(str((tmp_path / "commits" / "m" / "1").readlink())) < 60


def _decide(
    folder: Path, seat: int, start: Barrier, answers: multiprocessing.Queue[list[str | None]]
) -> None:
    board = SharedCoordinator(folder / "commits", WorkerTable(folder / "seats", 4), seat)
    decided = []
    for number in range(1, 201):
        start.wait()
        decided.append(board.decide("m", Decision(number, f"v{seat}")).version)
        board.reach("m", number)
        assert board.number("m") >= number
    answers.put(decided)


@pytest.mark.process
@pytest.mark.timeout(60)
def test_of_many_at_once_one_decides_and_all_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_decide, args=(tmp_path, seat, start, answers)) for seat in range(3)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) > 1
