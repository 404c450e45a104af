"""Who is given up when, and who makes room: one look after the other, without a clock."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from workers.connections import OpenConnections


class Peer:
    """A connection whose peer owes what the test says."""

    def __init__(self, owed: Hashable | None = "headers") -> None:
        self.owes = owed
        self.given_up = self.aborted = False

    def owed(self) -> Hashable | None:
        return self.owes

    def give_up(self) -> str:
        self.given_up = True
        return "headers"

    def abort(self) -> None:
        self.aborted = True


def _opened(connections: OpenConnections, count: int) -> list[Peer]:
    peers = [Peer() for _ in range(count)]
    for peer in peers:
        connections.opened(peer)
    return peers


def test_who_owes_the_same_for_longer_than_is_allowed_is_given_up() -> None:
    connections = OpenConnections(patience=20)
    (peer,) = _opened(connections, 1)
    for now, given_up in ((0, False), (10, False), (19.9, False), (20, True)):
        connections.look(now)
        assert peer.given_up is given_up


@pytest.mark.parametrize("next_owed", ["body", ("body", 2), None])
def test_who_did_some_of_it_has_the_whole_time_again(next_owed: Hashable | None) -> None:
    connections = OpenConnections(patience=20)
    (peer,) = _opened(connections, 1)
    connections.look(0)
    peer.owes = next_owed
    connections.look(15)
    peer.owes = next_owed or "headers"
    connections.look(34)
    assert not peer.given_up
    connections.look(54)
    assert peer.given_up


def test_who_owes_nothing_is_waited_for() -> None:
    connections = OpenConnections(patience=20)
    peer = Peer(None)
    connections.opened(peer)
    connections.look(0)
    connections.look(1000)
    assert not peer.given_up


def test_who_is_closed_is_not_looked_at() -> None:
    connections = OpenConnections(patience=20)
    (peer,) = _opened(connections, 1)
    connections.look(0)
    connections.closed(peer)
    connections.look(20)
    assert not peer.given_up


def test_room_is_what_is_left_of_the_limit() -> None:
    assert OpenConnections(limit=10).room(7) == 3
    assert OpenConnections(limit=None).room(10**6) > 10**6


def test_who_has_been_silent_for_longest_makes_room() -> None:
    connections = OpenConnections(limit=40)
    peers = _opened(connections, 40)
    connections.speaks(peers[0])
    connections.speaks(peers[1])
    connections.falls_silent(peers[1])  # the last one now
    assert connections.room(40) == 0
    closed = [index for index, peer in enumerate(peers) if peer.aborted]
    assert closed == list(range(2, 2 + len(closed)))
    assert 0 < len(closed) < 30


def test_nobody_makes_room_twice_nor_while_it_is_busy() -> None:
    connections = OpenConnections(limit=2)
    peers = _opened(connections, 2)
    connections.speaks(peers[0])
    assert connections.room(2) == 0
    peers[1].aborted = False
    assert connections.room(2) == 0
    assert not any(peer.aborted for peer in peers)


def test_a_full_service_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    connections = OpenConnections(limit=100)
    for count in (100, 100, 95, 100, 50, 100):
        connections.room(count)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


def test_what_is_counted_is_told() -> None:
    class Figures:
        def __init__(self) -> None:
            self.reasons: list[str] = []

        def connections(self, count: int) -> None: ...

        def connection_closed(self, reason: str) -> None:
            self.reasons.append(reason)

    figures = Figures()
    connections = OpenConnections(patience=20, limit=1)
    connections._observer = figures
    _opened(connections, 1)
    connections.look(0)
    connections.look(20)
    connections.room(1)
    assert figures.reasons == ["headers", "room"]
