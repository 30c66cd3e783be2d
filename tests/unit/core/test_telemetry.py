"""Access log, metrics, traces."""

from __future__ import annotations

import io
import json

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.exposition import generate_latest

from securenet_core.exceptions import Code
from securenet_core.logs import AccessLog
from securenet_core.metrics import CallMetrics
from securenet_core.tracing import CallTracer

pytestmark = pytest.mark.unit

RECORD = (0.25, "p.S/Do", Code.OK, 0.0015, "ann", "acme", "ipv4:127.0.0.1:5", "r-1", "")


def test_one_json_line_a_call() -> None:
    stream = io.StringIO()
    log = AccessLog("detection", as_json=True, stream=stream)
    log.append(RECORD)
    log.append((*RECORD[:2], Code.INTERNAL, *RECORD[3:]))
    log.close()
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first == {
        "timestamp": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "event": "call",
        "service": "detection",
        "method": "p.S/Do",
        "code": "OK",
        "duration_ms": 1.5,
        "subject": "ann",
        "tenant": "acme",
        "peer": "ipv4:127.0.0.1:5",
        "request_id": "r-1",
    }
    assert second["level"] == "error"


def test_text_lines_hold_the_same() -> None:
    stream = io.StringIO()
    log = AccessLog("detection", as_json=False, stream=stream)
    log.append(RECORD)
    log.close()
    assert "method=p.S/Do code=OK duration_ms=1.500 subject=ann" in stream.getvalue()


def test_a_full_log_drops_and_counts() -> None:
    log = AccessLog("detection", as_json=True, stream=io.StringIO())
    log.close()  # nobody empties it any more
    for _ in range(65_536 + 7):
        log.append(RECORD)
    assert log.dropped == 7


def test_histogram_buckets_are_cumulative() -> None:
    metrics = CallMetrics()
    method = metrics.method("p.S/Do")
    for seconds in (0.00005, 0.0015, 100.0):
        method.start()
        method.finish(Code.OK, seconds)
    method.start()
    text = generate_latest(metrics.registry).decode()
    labels = 'grpc_method="p.S/Do",grpc_status="OK"'
    assert f'grpc_server_call_duration_seconds_bucket{{{labels},le="0.0001"}} 1.0' in text
    assert f'grpc_server_call_duration_seconds_bucket{{{labels},le="0.002"}} 2.0' in text
    assert f'grpc_server_call_duration_seconds_bucket{{{labels},le="+Inf"}} 3.0' in text
    assert 'grpc_server_call_started_total{grpc_method="p.S/Do"} 4.0' in text
    assert 'grpc_server_call_active{grpc_method="p.S/Do"} 1.0' in text


def test_chance_and_parent_decide_what_is_traced() -> None:
    exporter = InMemorySpanExporter()
    tracer = CallTracer.exporting_to(exporter, ratio=0.5, service="test")
    tracer._chance = iter([0.4, 0.6]).__next__
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    sampled = tracer.start("p.S/Do", [("traceparent", f"00-{trace_id}-b7ad6b7169203331-01")])
    unsampled = tracer.start("p.S/Do", [("traceparent", f"00-{trace_id}-b7ad6b7169203331-00")])
    lucky, unlucky = tracer.start("p.S/Do", []), tracer.start("p.S/Do", [])
    assert (unsampled, unlucky) == (None, None)
    assert sampled is not None
    assert sampled.trace_id == trace_id
    sampled.end(Code.INTERNAL)
    assert lucky is not None
    lucky.end(Code.NOT_FOUND)
    tracer.close()
    first, second = exporter.get_finished_spans()
    assert first.attributes is not None
    assert first.attributes["rpc.service"] == "p.S"
    assert first.attributes["rpc.grpc.status_code"] == 13
    assert not first.status.is_ok
    assert second.status.is_unset
