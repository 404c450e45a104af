"""Statements of a database as spans, which the database itself can be told from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from adapters.sql.database import RECORDS, Database
from telemetry import spans
from telemetry.tracing import Tracing
from tests.support.otlp_receiver import otlp_receiver
from tests.support.postgres import running_server

pytestmark = [pytest.mark.process]

_MINE = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"


@pytest.fixture
def database() -> Iterator[Database]:
    """An empty database."""
    with running_server() as server, server.database() as url:
        opened = Database(url, RECORDS)
        yield opened
        opened.close()


def test_a_statement_says_to_the_database_which_trace_it_belongs_to(database: Database) -> None:
    with otlp_receiver() as receiver:
        tracing = Tracing(enabled=True, endpoint=receiver.url, variables={})
        tracing.start()
        try:
            tracing.trace_database(database.engine)
            with spans.span("storage.save"), database.reading() as connection:
                trace = spans.trace_id()
                seen = str(connection.execute(text(_MINE)).scalar_one())
        finally:
            tracing.stop()
        assert trace is not None
        by_name = {span.name: span for span in receiver.spans}
    (statement,) = [span for name, span in by_name.items() if name.startswith("SELECT")]
    assert (statement.trace, statement.parent) == (trace, by_name["storage.save"].id)
    assert f"traceparent='00-{trace}-{statement.id}-" in seen
