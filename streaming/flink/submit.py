"""Hands the job of a team to a cluster: when that and the service answer, and in the place of an earlier one.

    python submit.py HTTP_OF_THE_CLUSTER        TEAM, HTTP_URL, CHECKPOINT_DIR in the environment

A job goes on when who handed it in is gone. Two would answer each message twice, so an earlier one is
cancelled first; the new one goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_JOB = Path(__file__).parent / "jobs" / "http_dispatcher.py"
_PAUSE = 2.0
_ENDED = ("FINISHED", "CANCELED", "FAILED")


def main() -> None:
    """Wait, cancel, and become `flink run`."""
    cluster, team = sys.argv[1].rstrip("/"), os.environ["TEAM"].strip().lower()
    service = os.environ.get("HTTP_URL") or f"http://{team}-inference-http:8000"
    for url in (f"{cluster}/taskmanagers", f"{service}/healthz"):
        while _asked(url) is None:
            time.sleep(_PAUSE)
    while running := jobs_of(_asked(f"{cluster}/jobs/overview"), f"http-dispatcher-{team}"):
        for job in running:
            _asked(f"{cluster}/jobs/{job}?mode=cancel", "PATCH")
        time.sleep(_PAUSE)
    place = f"{os.environ.get('CHECKPOINT_DIR', '/checkpoints').rstrip('/')}/{team}"
    address = cluster.partition("://")[2]
    words = ["flink", "run", "-m", address, "-py", str(_JOB), "--team", team, "--http-url", service]
    os.execvp(words[0], [*words, "--checkpoint-dir", place])  # noqa: S606 - Flink's image has it on its path


def jobs_of(overview: Any, name: str) -> list[str]:
    """The ids of jobs of that name that have not ended; one that cannot be asked for counts as running."""
    if overview is None:
        return ["unknown"]
    return [job["jid"] for job in overview["jobs"] if job["name"] == name and job["state"] not in _ENDED]


def _asked(url: str, method: str = "GET") -> Any:
    """The document there; None where no answer comes."""
    try:
        request = urllib.request.Request(url, method=method)  # noqa: S310 - the cluster's own address
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")
    except (urllib.error.URLError, OSError, ValueError):
        return None


if __name__ == "__main__":
    main()
