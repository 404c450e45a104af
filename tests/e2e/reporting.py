"""The services of a test: made by one fixture, destroyed in the end, their last words shown on failure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Service
from tests.e2e.stores import Store

#: Every service that stands now, for the report of a test that fails.
STANDING: list[Service] = []

Start = Callable[..., Service]


def services() -> Generator[Start, None, None]:
    """Makes services (it does not start them) and destroys them in the end."""
    made: list[Service] = []

    def make(home: Path, store: Path | None = None, **settings: Any) -> Service:
        service = Service(home, store, **settings)
        made.append(service)
        STANDING.append(service)
        return service

    try:
        yield make
    finally:
        for service in made:
            service.destroy()
            STANDING.remove(service)


@pytest.fixture
def make_service() -> Iterator[Start]:
    """`make_service(home, store=None, SETTING="…")` makes a service; `.ready()` starts it."""
    yield from services()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store that is also the service's home."""
    return Store(tmp_path / "home", tmp_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the services said to whoever reads a failure."""
    report = yield
    if report.failed:
        for service in STANDING:
            report.sections.append((f"service in {service.home}", service.tail()))
    return report
