"""One running service for the quick tests of the wires, with a few models that no test changes.

m       v1 (code 1), v2 (code 2, serves)
other   v1 (code 3), for tests that move targets
bad     v1, which is refused
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.harness import Service
from tests.e2e.reporting import make_service, pytest_runtest_makereport, services, store
from tests.e2e.stores import Store
from tests.e2e.waiting import until

__all__ = ["make_service", "pytest_runtest_makereport", "store"]

MAX_BODY = 2_000_000
MAX_PIXELS = 1_000_000
#: Devices that may hand pictures in, with their tokens.
DEVICES = {"device-001": "token of one", "device-002": "token of two"}


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service."""
    folder = tmp_path_factory.mktemp("api")
    made = Store(folder / "home", folder)
    made.add("v1", 1)
    made.add("v2", 2)
    for version in (1, 2, 3):
        made.add(f"v{version}", version, "other")
    made.add("v1", 9, "bad", best=math.nan)
    limits = {"OKAWARI_MAX_BODY_BYTES": str(MAX_BODY), "OKAWARI_MAX_PIXELS": str(MAX_PIXELS)}
    tokens = {f"{name.upper().replace('-', '_')}_TOKEN": token for name, token in DEVICES.items()}
    with contextmanager(services)() as make:
        service = make(made.home, OKAWARI_DEFAULT_MODEL="m", **limits, **tokens).ready()
        until(lambda: service.states("bad")["v1"]["state"] == "failed", "the bad one is refused")
        yield service
