"""What the tests of the example programs share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served, run
from tests.e2e.harness import ROOT

EXAMPLES = ROOT / "examples" / "clients"


def answer_of(*command: str | Path, **more: Any) -> dict[str, Any]:
    """What a program prints."""
    return dict(json.loads(run(*command, **more).stdout))


def same(answer: dict[str, Any], served: Served) -> None:
    """The answer is the service's, whatever wire it came by."""
    found = served.detections()
    assert [each["label"] for each in answer["detections"]] == [each["label"] for each in found]
    for mine, theirs in zip(answer["detections"], found, strict=True):
        assert mine["bbox"] == pytest.approx(theirs["bbox"], abs=1e-3)
