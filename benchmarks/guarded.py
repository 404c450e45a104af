"""What the guard costs: a service whose version is watched, against one in which nothing is watched."""

from __future__ import annotations

import json
import time
from pathlib import Path

import httpx

from benchmarks.bring import bring
from benchmarks.models import Subject
from benchmarks.serving import Service

#: Longer than any run.
WINDOW = {"OKAWARI_GUARD_SECONDS": "36000"}
NO_WINDOW = {"OKAWARI_GUARD_SECONDS": "0"}
_SECONDS = 60.0


def versions(subject: Subject, room: Path) -> tuple[Path, Path]:
    """The same model twice: the guard watches where the files differ, so their descriptions do."""
    first, second = (subject.version(room, name) for name in ("v1", "v2"))
    config = json.loads((second / "config.json").read_text())
    (second / "config.json").write_text(json.dumps(config | {"description": "the same once more"}))
    return first, second


def switch(service: Service, name: str, folder: Path) -> None:
    """Import the version; return when it answers. Raises `RuntimeError` where it does not."""
    bring(service.home, [folder])
    until = time.monotonic() + _SECONDS
    while time.monotonic() < until:
        model = httpx.get(f"{service.url}/models/{name}").raise_for_status().json()
        if model["serving"] == folder.name:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name}:{folder.name} does not answer")
