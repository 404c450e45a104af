"""What the tests of the example programs share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import PICTURE, Served, run
from tests.e2e.harness import ROOT, free_port

EXAMPLES = ROOT / "examples" / "clients"


def answer_of(*command: str | Path, **more: Any) -> dict[str, Any]:
    """What a program prints."""
    return dict(json.loads(run(*command, **more).stdout))


def same(answer: dict[str, Any], served: Served) -> None:
    """The answer is the service's, whatever wire it came by."""
    found = served.detections()
    for field in ("label", "label_id"):
        assert [each[field] for each in answer["detections"]] == [each[field] for each in found]
    for mine, theirs in zip(answer["detections"], found, strict=True):
        assert mine["bbox"] == pytest.approx(theirs["bbox"], abs=1e-3)


def tells_what_is_wrong(*command: str | Path, before: str = "", away: Sequence[str], **more: Any) -> None:
    """Without words, picture or service it ends with a line that says so, and never with a trace.

    `before` stands before the picture, `away` after it: where no service is.
    """
    first = [before] if before else []
    for words, said in (([], "usage: "), ([*first, "nofile.jpg"], "nofile"), ([*first, PICTURE], "refused")):
        with pytest.raises(AssertionError, match="ended with") as ended:
            run(*command, *words, *(away if words else ()), **more)
        assert said in str(ended.value)
        assert "Traceback" not in str(ended.value)


def nobody() -> str:
    """An address at which nobody listens."""
    return f"127.0.0.1:{free_port()}"
