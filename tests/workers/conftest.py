"""What all tests of this room share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """One beat of a heart lasts for the test: on a busy machine nobody counts as stopped who was not."""
    monkeypatch.setattr("workers.membership.STOPPED", 30.0)
