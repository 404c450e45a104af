"""The one shape of errors, as every test of the wires checks it."""

from __future__ import annotations

import httpx

#: Statuses of what may succeed later without being changed; of the stores' refusals some are lasting.
_PASSING = (408, 429, 503, 504, 507)


def refused(answer: httpx.Response, status: int, code: str) -> str:
    """Assert that this is that error in the one shape; its message."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert set(document) == {"error"}
    assert set(document["error"]) == {"code", "message", "request_id", "transient"}
    assert document["error"]["code"] == code
    assert document["error"]["request_id"] == answer.headers["x-request-id"]
    assert document["error"]["transient"] is (status in _PASSING), document
    message = str(document["error"]["message"])
    assert message
    assert "Traceback" not in answer.text
    return message
