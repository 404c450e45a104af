"""Which jobs of a cluster are in the way of a new one."""

from __future__ import annotations

from streaming.flink.submit import jobs_of


def test_a_job_of_the_team_that_has_not_ended_is_in_the_way() -> None:
    jobs = [
        {"jid": "a", "name": "http-dispatcher-fruit", "state": "RUNNING"},
        {"jid": "b", "name": "http-dispatcher-fruit", "state": "CANCELED"},
        {"jid": "c", "name": "http-dispatcher-wheat", "state": "RUNNING"},
        {"jid": "d", "name": "http-dispatcher-fruit", "state": "RESTARTING"},
    ]
    assert jobs_of({"jobs": jobs}, "http-dispatcher-fruit") == ["a", "d"]
    assert jobs_of({"jobs": []}, "http-dispatcher-fruit") == []


def test_a_cluster_that_does_not_answer_is_waited_for() -> None:
    assert jobs_of(None, "http-dispatcher-fruit") != []
