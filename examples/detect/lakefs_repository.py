"""Makes the repository of the pictures in lakeFS, unless it is there; waits until lakeFS answers.

usage: LAKEFS_ENDPOINT=… LAKEFS_ACCESS_KEY=… LAKEFS_SECRET_KEY=… python lakefs_repository.py
           [--repository bird-detection] [--branch main] [--storage s3://lakefs/bird-detection] [--wait 120]

Exit codes: 0 it is there; 1 lakeFS refuses, or did not answer in time; 2 a variable is missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence

import httpx

_PAUSE = 1.0
_VARIABLES = ("LAKEFS_ENDPOINT", "LAKEFS_ACCESS_KEY", "LAKEFS_SECRET_KEY")


def main(
    arguments: Sequence[str] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(description="Make the repository of the pictures in lakeFS.")
    parser.add_argument("--repository", default="bird-detection")
    parser.add_argument("--branch", default="main")
    parser.add_argument("--storage", default="s3://lakefs/bird-detection")
    parser.add_argument("--wait", type=float, default=120.0, help="seconds until lakeFS must have answered")
    given = parser.parse_args(arguments)
    endpoint, *keys = (os.environ.get(name, "") for name in _VARIABLES)
    if not endpoint or not all(keys):
        print(f"set {', '.join(_VARIABLES)}", file=sys.stderr)
        return 2
    wanted = {"name": given.repository, "default_branch": given.branch, "storage_namespace": given.storage}
    end = clock() + given.wait
    with httpx.Client(base_url=endpoint, auth=httpx.BasicAuth(*keys), timeout=10) as client:
        while True:
            status, said = _make(client, wanted)
            if status in (201, 409):
                print(f"the repository {given.repository} is {'made' if status == 201 else 'there'}")
                return 0
            # 401 and 400 may be lakeFS that has not made its first user yet, or a bucket that comes later.
            if clock() >= end:
                print(f"the repository {given.repository} is not there: {said}", file=sys.stderr)
                return 1
            sleep(_PAUSE)


def _make(client: httpx.Client, wanted: dict[str, str]) -> tuple[int, str]:
    """Status and message of one try; 409 where the repository is there already."""
    try:
        if client.get(f"/api/v1/repositories/{wanted['name']}").status_code == 200:
            return 409, ""
        answer = client.post("/api/v1/repositories", json=wanted)
    except httpx.HTTPError as error:
        return 0, f"no answer: {error!r}"
    return answer.status_code, f"{answer.status_code} {' '.join(answer.text[:500].split())}"


if __name__ == "__main__":
    sys.exit(main())
