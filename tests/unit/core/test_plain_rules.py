"""Rules that are compiled into comparisons, and those that are left to the engine."""

from __future__ import annotations

import pytest

from securenet.detection.v1 import detection_pb2, flow_pb2, intel_pb2
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.plain_rules import accepting
from securenet_core.validation import RequestValidator

pytestmark = pytest.mark.unit


def test_types_with_other_rules_are_the_engines() -> None:
    assert accepting(detection_pb2.AnalyzeBatchRequest.DESCRIPTOR) is None  # lengths of lists
    assert accepting(detection_pb2.GetFindingRequest.DESCRIPTOR) is None  # a pattern
    assert accepting(intel_pb2.LookupIndicatorsRequest.DESCRIPTOR) is None


def test_a_type_without_rules_is_always_right() -> None:
    accepts = accepting(detection_pb2.ListDetectorsRequest.DESCRIPTOR)
    assert accepts is not None
    assert accepts(detection_pb2.ListDetectorsRequest())


def test_what_is_required_must_be_there() -> None:
    accepts = accepting(detection_pb2.AnalyzeRequest.DESCRIPTOR)
    assert accepts is not None
    assert not accepts(detection_pb2.AnalyzeRequest())


def test_what_is_not_let_pass_is_told_as_the_engine_tells_it() -> None:
    flow = flow_pb2.FlowRecord(src_ip="10.0.0.1", dst_ip="nowhere", protocol=6, src_port=70_000)  # type: ignore[arg-type]  # an open enum
    with pytest.raises(InvalidArgumentError) as caught:
        RequestValidator().check(detection_pb2.AnalyzeRequest(flow=flow))
    assert {violation.field for violation in caught.value.fields} == {"flow.start_time", "flow.dst_ip", "flow.src_port"}
