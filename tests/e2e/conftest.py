"""What all tests of the running service share."""

from tests.e2e.reporting import make_service, pytest_runtest_makereport, store

__all__ = ["make_service", "pytest_runtest_makereport", "store"]
