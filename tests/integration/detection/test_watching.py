"""A watch goes on over disconnects and SIGKILL: nothing is lost, nothing told twice."""

from __future__ import annotations

import itertools
import json
from typing import Any

import grpc
import pytest
from service_process import launch, running

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc
from securenet_client.detection.client import DetectionClient
from securenet_core.channels import ChannelSettings, open_channel
from securenet_flows import read_flows

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SMALL = {
    "detectors__state__entities": "1024", "detectors__state__members": "4096", "detectors__state__repeats": "65536",
    "access_log": "false",
}  # fmt: skip


def read_some(stub: Any, token: str, count: int) -> list[pb.WatchFindingsResponse]:
    """The next `count` changes after a token, from the beginning without one; then hangs up."""
    call = stub.WatchFindings(pb.WatchFindingsRequest(resume_token=token, include_existing=True), timeout=60)
    found = list(itertools.islice((one for one in call if one.HasField("finding")), count))
    call.cancel()
    return found


def test_no_change_is_lost_or_told_twice_over_sigkill(tmp_path: Any, columns: Any) -> None:
    told: list[pb.WatchFindingsResponse] = []
    sources = (f"10.{part}.0.{i + 1}" for part in range(3) for i in range(20))
    for part in range(3):
        service = launch("detection", tmp_path, **SMALL)
        with open_channel(ChannelSettings(service.address)) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            for source in itertools.islice(sources, 20):
                stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 25, src=source)), timeout=60)
            # Some of it now and in pieces, the rest after the kill.
            for count in (7, 4, 5):
                told += read_some(stub, told[-1].resume_token if told else "", count)
        if part < 2:
            service.kill()
    with open_channel(ChannelSettings(service.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        stored = {
            finding.name: finding.revision
            for finding in stub.ListFindings(pb.ListFindingsRequest(page_size=1000), timeout=60).findings
        }
        told += read_some(stub, told[-1].resume_token, len(stored) - len(told))
        assert len(stored) >= 60
        # Each finding changed once, so each was told once, as it stands.
        assert sorted(one.finding.name for one in told) == sorted(stored)
        assert {one.finding.name: one.finding.revision for one in told} == stored
        for forged in ("nonsense", told[0].resume_token[:-4] + "AAAA"):
            with pytest.raises(grpc.RpcError) as error:
                next(iter(stub.WatchFindings(pb.WatchFindingsRequest(resume_token=forged), timeout=60)))
            assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert "resume_token" in str(error.value.details())
    token = told[0].resume_token
    assert service.stop() == 0
    with (
        running("detection", tmp_path / "other", **SMALL) as other,
        open_channel(ChannelSettings(other.address)) as channel,
    ):
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            next(iter(stub.WatchFindings(pb.WatchFindingsRequest(resume_token=token), timeout=60)))
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_what_people_found_out_can_be_read_as_training_data(tmp_path: Any, columns: Any) -> None:
    with running("detection", tmp_path, **SMALL) as service, DetectionClient(service.address) as client:
        for source in ("10.0.0.1", "10.0.0.2"):
            client._stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30, src=source)), timeout=60)
        for finding in list(client.list_findings(detector="horizontal-scan")):
            verdict = "true-positive" if finding.entity == "10.0.0.1" else "benign"
            client.update_finding(finding.id, status="resolved", analyst_verdict=verdict, comment="seen")
            (entry,) = client.list_finding_events(finding.id)
            assert (entry.action, entry.actor, entry.status_after) == ("updated", "local", "resolved")
        records = list(client.export_labels())
    path = tmp_path / "labels.json"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    flows = list(read_flows(path))
    labels = [label for batch in flows for label in batch.texts("label").decode()]
    assert len(labels) == len(records) >= 10
    assert set(labels) == {"malicious", "benign"}
    assert all("dst_port" in batch.numeric and "conn_state" in batch.numeric for batch in flows)
