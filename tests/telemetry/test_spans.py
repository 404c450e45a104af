"""Spans in this process: what lies below what, how long it took, what failed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from hotswap.errors import Overloaded
from hotswap.events import LoadedVersion, Recorder, Swap
from hotswap.predictions import Answer, Timings
from manifest.tags import ModelTag
from streaming.messages import IncomingRecord, Position
from telemetry import spans
from telemetry.message_spans import message_span
from telemetry.span_observers import InferenceSpans, ModelSpans

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
FROM_CALLER = f"00-{TRACE}-{CALLER}-01"
RECORD = IncomingRecord(Position("imagery.new.fruit", 2, 41), b"{}")


@pytest.fixture
def made() -> Iterator[InMemorySpanExporter]:
    """The spans that have ended."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans.begin(provider.get_tracer("test"))
    try:
        yield exporter
    finally:
        spans.end()


def _by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def _answer(**changes: object) -> Answer:
    values = {
        "request_id": "r",
        "model": "m",
        "version": "v2",
        "digest": "d" * 64,
        "generation": 3,
        "task": "object-detection",
        "queue_ms": 5.0,
        "stages": Timings(1.0, 2.0, 30.0, 2.0),
        "total_ms": 60.0,
        "predictions": (),
    }
    return Answer(**{**values, **changes})  # type: ignore[arg-type]


def test_a_span_goes_on_with_its_callers_trace(made: InMemorySpanExporter) -> None:
    with spans.span("outer", headers={"traceparent": FROM_CALLER}), spans.span("inner", {"device_id": "cam"}):
        assert spans.trace_id() == TRACE
        assert spans.headers()["traceparent"].split("-")[1] == TRACE
    found = _by_name(made)
    outer, inner = found["outer"], found["inner"]
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == CALLER
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert inner.attributes == {"device_id": "cam", "status": "ok"}


@pytest.mark.parametrize("sent", ["", "no trace", "00-aa-bb-01", f"00-{'0' * 32}-{CALLER}-01"])
def test_what_is_no_trace_begins_one(made: InMemorySpanExporter, sent: str) -> None:
    with spans.span("outer", headers={"traceparent": sent}):
        pass
    assert _by_name(made)["outer"].parent is None


def test_a_trace_that_its_caller_does_not_record_is_not_recorded(made: InMemorySpanExporter) -> None:
    with spans.span("outer", headers={"traceparent": f"00-{TRACE}-{CALLER}-00"}):
        assert spans.trace_id() == TRACE
    assert not made.get_finished_spans()


def test_an_error_is_named_by_its_code_and_raised(made: InMemorySpanExporter) -> None:
    with pytest.raises(Overloaded), spans.span("outer"):
        raise Overloaded("no room")
    span = _by_name(made)["outer"]
    assert span.attributes == {"status": "overloaded"}
    assert span.status.status_code is StatusCode.ERROR
    assert not span.events


def test_an_inference_lies_where_it_was_made(made: InMemorySpanExporter) -> None:
    answer = _answer(ended=time.perf_counter() - 0.5)
    with spans.span("service.detect"):
        InferenceSpans().predicted(answer)
    found = _by_name(made)
    span, outer = found["model.inference"], found["service.detect"]
    assert span.parent is not None
    assert span.parent.span_id == outer.context.span_id
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - span.start_time == pytest.approx(40e6, abs=1e3)
    assert time.time_ns() - span.end_time == pytest.approx(0.5e9, rel=0.5)
    assert span.attributes is not None
    assert (span.attributes["model_version"], span.attributes["model_digest"]) == ("v2", "d" * 64)
    assert span.attributes["inference_ms"] == 30.0


def test_a_refused_inference_has_its_code(made: InMemorySpanExporter) -> None:
    recorder = Recorder(InferenceSpans())
    with pytest.raises(Overloaded), recorder.inference("r", "m"):
        raise Overloaded("no room")
    span = _by_name(made)["model.inference"]
    assert span.attributes is not None
    assert span.attributes["status"] == "overloaded"
    assert span.status.status_code is StatusCode.ERROR


def test_a_swap_lies_in_the_trace_of_its_load(made: InMemorySpanExporter) -> None:
    observer, tag = ModelSpans(), ModelTag("m", "v2")
    observer.loaded(LoadedVersion(tag, "d", 0.2, 0.1))
    observer.published(Swap("m", "v1", "v2", 4, "d", actor="ann", pause_seconds=0.001))
    found = _by_name(made)
    load, swap = found["model.load"], found["model.swap"]
    assert swap.parent is not None
    assert swap.parent.span_id == load.context.span_id
    assert swap.attributes is not None
    assert (swap.attributes["version_before"], swap.attributes["model_version"]) == ("v1", "v2")
    assert swap.attributes["actor"] == "ann"
    observer.published(Swap("m", "v2", None, 5, None))
    assert len([each for each in made.get_finished_spans() if each.name == "model.swap"]) == 2


def test_a_message_goes_on_in_the_span_of_its_work(made: InMemorySpanExporter) -> None:
    record = IncomingRecord(
        RECORD.position, b"{}", headers=(("traceparent", FROM_CALLER.encode()), ("camera", b"1"))
    )
    with message_span(record) as traced:
        sent = traced.header("traceparent")
    span = _by_name(made)["message.process"]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == CALLER
    assert sent == f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert traced.header("camera") == "1"
    assert span.attributes is not None
    assert span.attributes["messaging.message.id"] == RECORD.position.id


def test_without_tracing_nothing_changes() -> None:
    assert spans.span("x") is spans.OFF
    assert spans.headers() == {}
    assert spans.trace_id() is None
    InferenceSpans().predicted(_answer())
    with message_span(RECORD) as traced:
        assert traced is RECORD
