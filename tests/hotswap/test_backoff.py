"""What failed, and when it may be tried again."""

from __future__ import annotations

from hotswap.backoff import Backoff, LoadFailure
from hotswap.repository import VersionInfo
from manifest.tags import ModelTag
from tests.hotswap.fakes import FakeClock

TAG = ModelTag("m", "v1")
SEEN, MENDED = VersionInfo("v1", "sha256:1"), VersionInfo("v1", "sha256:2")


def test_a_failure_waits_until_its_time_has_come() -> None:
    clock = FakeClock()
    backoff = Backoff(clock)
    assert backoff.record(LoadFailure(TAG, "no"), SEEN) == 1
    clock.now += 0.99
    assert backoff.waiting(TAG, SEEN)
    clock.now += 0.01
    assert not backoff.waiting(TAG, SEEN)


def test_other_files_do_not_wait() -> None:
    backoff = Backoff(FakeClock())
    backoff.record(LoadFailure(TAG, "no"), SEEN)
    assert not backoff.waiting(TAG, MENDED)
    assert not backoff.waiting(TAG, None)


def test_failures_after_an_unsettled_look_are_counted_from_one() -> None:
    backoff = Backoff(FakeClock())
    backoff.record(LoadFailure(TAG, "no"), SEEN)
    backoff.record(LoadFailure(TAG, "no"), SEEN)
    assert backoff.record(LoadFailure(TAG, "short", settling=True), SEEN) == 0.5
    assert backoff.record(LoadFailure(TAG, "no"), SEEN) == 1
    assert backoff.failures[TAG].number == 1


def test_the_delay_stays_at_a_minute_however_often_a_version_fails() -> None:
    backoff = Backoff(FakeClock())
    delays = [backoff.record(LoadFailure(TAG, "no"), SEEN) for _ in range(2000)]
    assert delays[5:] == [32, *[60] * 1994]


def test_the_newest_reason_and_digest_are_kept() -> None:
    backoff = Backoff(FakeClock())
    backoff.record(LoadFailure(TAG, "first"), SEEN)
    backoff.record(LoadFailure(TAG, "second", digest="sha256:2"), SEEN)
    assert (backoff.failures[TAG].reason, backoff.failures[TAG].digest) == ("second", "sha256:2")
