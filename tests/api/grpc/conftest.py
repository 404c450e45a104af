"""The service that tests of the protocol's rules share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.grpc.oip_client import (
    Client,
)
from tests.api.open_inference.conftest import v2
from tests.e2e.harness import Service

__all__ = ["v2"]


@pytest.fixture
def rpc(v2: Service) -> Iterator[Client]:
    """A client of the service."""
    client = Client(v2.grpc_address)
    with client.channel:
        yield client
