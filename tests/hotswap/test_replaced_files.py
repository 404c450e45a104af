"""Files that somebody replaces under the tag that serves: who joins reads others, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hotswap.workers import Workers
from tests.hotswap.world import World


@pytest.fixture
def workers(tmp_path: Path) -> Workers:
    """A worker that answers with v1."""
    made = Workers(tmp_path, 1, "m:v1")
    made.settle()
    return made


def _join(workers: Workers) -> World:
    workers.worlds.append(joined := workers.join(1))
    workers.settle(1)
    return joined


def _told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "files were replaced" in line]


def test_who_joins_with_other_files_warns_once_with_both_digests(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    workers.source.add("m:v1", "sha256:2")
    joined = _join(workers)
    workers.settle()
    assert workers.all() == ["v1", "v1"]
    assert joined.number() == workers.worlds[0].number()
    (line,) = _told(caplog)
    assert line.startswith(
        "m:v1: its files were replaced; this worker answers with sha256:2, others as generation 1"
    )
    assert "sha256:1: import them as another version" in line


def test_who_joins_with_the_same_files_warns_of_nothing(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    _join(workers)
    assert workers.all() == ["v1", "v1"]
    assert _told(caplog) == []


def test_the_next_version_brings_all_to_the_same_files(
    workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    workers.source.add("m:v1", "sha256:2")
    _join(workers)
    caplog.clear()
    workers.source.add("m:v2", "sha256:3")
    workers.settle()
    assert workers.all() == ["v2", "v2"]
    assert _told(caplog) == []
