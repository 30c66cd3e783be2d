"""The service over loopback: what callers see."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, finding_pb2, flow_pb2, verdict_pb2
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_core.exceptions import (
    AbortedError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from securenet_core.status import from_rpc_error
from securenet_detection.detector_settings import DetectorSettings, StateSettings

pytestmark = pytest.mark.integration

TIMEOUT = 30


async def failure(call: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def unary(stub: Any, records: Any) -> Any:
    return [(await stub.Analyze(pb.AnalyzeRequest(flow=one), timeout=TIMEOUT)).verdict for one in records]


def stripped(verdict: Any) -> Any:
    copy = verdict_pb2.Verdict()
    copy.CopyFrom(verdict)
    return copy.SerializeToString(deterministic=True)


async def test_unary_batch_and_stream_give_the_same_verdicts(start_server: Any, record: Any, columns: Any) -> None:
    total = 150
    low = verdict_pb2.BatchOptions(detail_level=verdict_pb2.THREAT_LEVEL_LOW)
    answers = {}
    for way in ("unary", "batch", "stream"):
        server = await start_server(way)
        async with open_aio_channel(ChannelSettings(server.address)) as channel:
            stub = detection_pb2_grpc.DetectionServiceStub(channel)
            if way == "unary":
                answers[way] = [stripped(verdict) for verdict in await unary(stub, map(record, range(total)))]
            elif way == "batch":
                request = pb.AnalyzeBatchRequest(batch=columns(0, total), options=low)
                response = await stub.AnalyzeBatch(request, timeout=TIMEOUT)
                answers[way] = [stripped(detail.verdict) for detail in response.verdicts.details]
            else:
                cuts = [(0, 1), (1, 40), (41, 9), (50, 100)]
                requests = [
                    pb.AnalyzeStreamRequest(sequence=n, batch=columns(*cut), options=low) for n, cut in enumerate(cuts)
                ]
                call = stub.AnalyzeStream(iter(requests), timeout=TIMEOUT)
                responses = [response async for response in call]
                assert [response.sequence for response in responses] == [0, 1, 2, 3]
                answers[way] = [stripped(d.verdict) for response in responses for d in response.verdicts.details]
        await server.stop()
    assert len(answers["unary"]) == total
    assert answers["unary"] == answers["batch"] == answers["stream"]
    last = verdict_pb2.Verdict.FromString(answers["unary"][-1])
    assert last.threat_level >= verdict_pb2.THREAT_LEVEL_HIGH
    assert {evidence.detector for evidence in last.evidence} == {"horizontal-scan", "sequential-scan"}


async def test_an_acknowledged_finding_is_listed_at_once(stub: Any, record: Any) -> None:
    for verdict_count, one in enumerate(map(record, range(25)), start=1):
        await stub.Analyze(pb.AnalyzeRequest(flow=one), timeout=TIMEOUT)
        if verdict_count == 25:
            listed = await stub.ListFindings(pb.ListFindingsRequest(detector="horizontal-scan"), timeout=TIMEOUT)
            assert [finding.entity for finding in listed.findings] == ["10.0.0.5"]
    (finding,) = listed.findings
    assert finding.port == 23
    assert finding.count == 25
    assert finding.techniques[0].id == "T1046"
    assert 40 <= finding.risk < 100
    got = await stub.GetFinding(pb.GetFindingRequest(name=finding.name), timeout=TIMEOUT)
    assert got.finding == finding


async def test_many_calls_at_once_all_get_their_own_answer(stub: Any, record: Any) -> None:
    records = [record(i, src=f"10.0.1.{i % 200}") for i in range(400)]
    answers = await asyncio.gather(*(stub.Analyze(pb.AnalyzeRequest(flow=one), timeout=TIMEOUT) for one in records))
    assert [answer.verdict.flow_id for answer in answers] == [one.flow_id for one in records]


async def test_a_dry_run_makes_no_finding(stub: Any, columns: Any) -> None:
    request = pb.AnalyzeBatchRequest(batch=columns(0, 100), options=verdict_pb2.BatchOptions(dry_run=True))
    response = await stub.AnalyzeBatch(request, timeout=TIMEOUT)
    assert len(response.verdicts.threat_level) == 100
    assert not (await stub.ListFindings(pb.ListFindingsRequest(), timeout=TIMEOUT)).findings


async def test_without_a_registry_the_verdict_says_that_no_model_scored(stub: Any, record: Any) -> None:
    (verdict,) = await unary(stub, [record(0)])
    assert not verdict.HasField("model")
    assert "model" in {skipped.detector for skipped in verdict.skipped}
    serving = await stub.GetServingModel(pb.GetServingModelRequest(), timeout=TIMEOUT)
    assert not serving.HasField("current")
    assert serving.detail == "no registry is configured"


async def test_health_serves_and_shows_that_there_is_no_model(server: Any, channel: Any) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)).status == serving
    model = await health.Check(health_pb2.HealthCheckRequest(service="model"), timeout=TIMEOUT)
    assert model.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.health.report()["probes"]["model"]["detail"].startswith("model: none")


async def test_a_bad_row_is_reported_and_the_others_are_scored(stub: Any, columns: Any) -> None:
    batch = columns(0, 30, dst_port=[23] * 10 + [70000] + [23] * 19)
    response = await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=batch), timeout=TIMEOUT)
    verdicts = response.verdicts
    assert [(error.row, error.field) for error in verdicts.errors] == [(10, "dst_port")]
    assert len(verdicts.threat_level) == len(verdicts.score) == 30
    assert verdicts.threat_level[10] == 0
    assert all(level >= 1 for row, level in enumerate(verdicts.threat_level) if row != 10)
    assert [detail.row for detail in verdicts.details][-1] == 29
    assert all(verdicts.threat_level[d.row] == d.verdict.threat_level for d in verdicts.details)


async def test_a_column_of_another_length_is_named(stub: Any, columns: Any) -> None:
    error = await failure(
        stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 3, orig_bytes=[1, 2])), timeout=TIMEOUT)
    )
    assert isinstance(error, InvalidArgumentError)
    assert error.fields[0].field == "batch.orig_bytes"


async def test_a_stream_answers_what_came_before_a_bad_request(stub: Any, columns: Any) -> None:
    async def requests() -> Any:
        yield pb.AnalyzeStreamRequest(sequence=7, batch=columns(0, 5))
        yield pb.AnalyzeStreamRequest(sequence=8, batch=columns(0, 5, protocol=[6]))

    call = stub.AnalyzeStream(requests(), timeout=TIMEOUT)
    assert (await call.read()).sequence == 7
    error = await failure(call.read())
    assert isinstance(error, InvalidArgumentError)
    assert "protocol" in error.message


async def found(stub: Any) -> Any:
    return (await stub.ListFindings(pb.ListFindingsRequest(), timeout=TIMEOUT)).findings


async def test_rows_of_any_level_say_which_detectors_contributed(stub: Any, columns: Any) -> None:
    response = await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30)), timeout=TIMEOUT)
    verdicts = response.verdicts
    named = [{name for i, name in enumerate(verdicts.detectors) if bits >> i & 1} for bits in verdicts.contributed]
    assert len(named) == 30
    # Three failed first contacts prove nothing; the fourth does.
    assert named[:4] == [set(), set(), set(), {"sequential-scan"}]
    assert named[29] == {"sequential-scan", "horizontal-scan"}
    alone = await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 1, src="10.0.0.77")), timeout=TIMEOUT)
    assert not alone.verdicts.contributed


def scoped(scope: str, **options: Any) -> verdict_pb2.BatchOptions:
    return verdict_pb2.BatchOptions(state_scope=scope, **options)


async def test_captures_in_scopes_of_their_own_do_not_add_up(stub: Any, columns: Any) -> None:
    async def levels(scope: str, first: int) -> list[int]:
        async def requests() -> Any:
            for sequence in range(2):
                batch = columns(first + 6 * sequence, 6)
                yield pb.AnalyzeStreamRequest(sequence=sequence, batch=batch, options=scoped(scope))

        answers = [answer async for answer in stub.AnalyzeStream(requests(), timeout=TIMEOUT)]
        return [level for answer in answers for level in answer.verdicts.threat_level]

    # 24 of 25 destinations, in two captures; three of four first contacts are below as well.
    first, second = await levels("one", 0), await levels("two", 12)
    assert first == second == [1] * 3 + [2] * 9
    # The same name again after its stream ended begins anew.
    assert await levels("one", 12) == first
    assert await levels("", 0) == first
    # In the tenant's own state it does add up.
    assert await levels("", 12) == [2] * 12
    graver = [finding for finding in await found(stub) if finding.evidence[0].level > verdict_pb2.THREAT_LEVEL_LOW]
    assert {(finding.state_scope, finding.detectors[0]) for finding in graver} == {
        ("one", "sequential-scan"), ("two", "sequential-scan"), ("", "sequential-scan"),
    }  # fmt: skip


async def test_too_many_scopes_are_refused_and_come_back(start_server: Any, columns: Any) -> None:
    state = StateSettings(entities=64, members=64, contexts=64, tenant_scopes=2)
    server = await start_server(detectors=DetectorSettings(state=state))
    try:
        async with open_aio_channel(ChannelSettings(server.address)) as channel:
            stub: Any = detection_pb2_grpc.DetectionServiceStub(channel)

            async def stream(scope: str) -> Any:
                call = stub.AnalyzeStream(timeout=TIMEOUT)
                await call.write(pb.AnalyzeStreamRequest(batch=columns(0, 2), options=scoped(scope)))
                return call

            calls = [await stream("a"), await stream("b")]
            for call in calls:
                assert await call.read()
            error = await failure((await stream("c")).read())
            assert isinstance(error, ResourceExhaustedError)
            assert error.retry_after
            one = pb.AnalyzeBatchRequest(batch=columns(0, 2), options=scoped("c"))
            assert isinstance(await failure(stub.AnalyzeBatch(one, timeout=TIMEOUT)), ResourceExhaustedError)
            # A dry run needs no state, and the tenant's own is always there.
            for free in (scoped("c", dry_run=True), scoped("")):
                await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 2), options=free), timeout=TIMEOUT)
            await calls[0].done_writing()
            assert await calls[0].code() == grpc.StatusCode.OK
            assert (await stub.AnalyzeBatch(one, timeout=TIMEOUT)).verdicts.threat_level
            calls[1].cancel()
    finally:
        await server.stop()


@pytest.mark.parametrize("scope", ["a b", "ä", "x" * 65, "a/b", "a\n"])
async def test_a_scope_is_a_plain_name(stub: Any, columns: Any, scope: str) -> None:
    request = pb.AnalyzeBatchRequest(batch=columns(0, 2), options=scoped(scope))
    error = await failure(stub.AnalyzeBatch(request, timeout=TIMEOUT))
    assert isinstance(error, InvalidArgumentError)
    assert error.fields[0].field == "options.state_scope"


async def test_pages_do_not_overlap_and_tokens_are_checked(stub: Any, columns: Any) -> None:
    for i in range(5):
        await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30, src=f"10.0.0.{i + 1}")), timeout=TIMEOUT)
    seen, token = [], ""
    while True:
        request = pb.ListFindingsRequest(page_size=2, page_token=token, detector="horizontal-scan")
        page = await stub.ListFindings(request, timeout=TIMEOUT)
        seen += [finding.entity for finding in page.findings]
        token = page.next_page_token
        if not token:
            break
        other = pb.ListFindingsRequest(page_size=2, page_token=token)
        assert isinstance(await failure(stub.ListFindings(other, timeout=TIMEOUT)), InvalidArgumentError)
    assert sorted(seen) == [f"10.0.0.{i + 1}" for i in range(5)]
    bad = pb.ListFindingsRequest(page_token="nonsense")
    assert isinstance(await failure(stub.ListFindings(bad, timeout=TIMEOUT)), InvalidArgumentError)


async def test_a_finding_is_edited_under_its_revision(stub: Any, columns: Any) -> None:
    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30)), timeout=TIMEOUT)
    finding = (await stub.ListFindings(pb.ListFindingsRequest(page_size=1), timeout=TIMEOUT)).findings[0]
    request = pb.UpdateFindingRequest(
        name=finding.name, status=finding_pb2.FINDING_STATUS_RESOLVED,
        analyst_verdict=finding_pb2.ANALYST_VERDICT_BENIGN, comment="our scanner", expected_revision=finding.revision,
    )  # fmt: skip
    after = (await stub.UpdateFinding(request, timeout=TIMEOUT)).finding
    assert (after.comment, after.updated_by, after.revision) == ("our scanner", "local", finding.revision + 1)
    assert isinstance(await failure(stub.UpdateFinding(request, timeout=TIMEOUT)), AbortedError)
    request.name = "findings/none"
    assert isinstance(await failure(stub.UpdateFinding(request, timeout=TIMEOUT)), NotFoundError)


async def test_a_watch_goes_on_from_its_token(stub: Any, columns: Any) -> None:
    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30)), timeout=TIMEOUT)
    watch = stub.WatchFindings(pb.WatchFindingsRequest(include_existing=True), timeout=TIMEOUT)
    first = await watch.read()
    second = await watch.read()
    assert {first.finding.entity, second.finding.entity} == {"10.0.0.5"}
    watch.cancel()
    again = stub.WatchFindings(pb.WatchFindingsRequest(resume_token=first.resume_token), timeout=TIMEOUT)
    assert (await again.read()).finding.name == second.finding.name
    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30, src="10.0.0.9")), timeout=TIMEOUT)
    assert (await again.read()).finding.entity == "10.0.0.9"
    again.cancel()


async def test_a_suppression_is_previewed_made_listed_and_ended(stub: Any, columns: Any) -> None:
    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30)), timeout=TIMEOUT)
    wanted = finding_pb2.Suppression(entity_cidr="10.0.0.0/24", reason="our scanner")
    wanted.expire_time.FromSeconds(int(time.time()) + 3600)
    preview = await stub.PreviewSuppression(pb.PreviewSuppressionRequest(suppression=wanted), timeout=TIMEOUT)
    assert preview.finding_count == len(preview.findings) == 2
    request = pb.CreateSuppressionRequest(suppression=wanted, request_id="r1")
    made = await stub.CreateSuppression(request, timeout=TIMEOUT)
    assert made.findings_suppressed == 2
    assert (await stub.CreateSuppression(request, timeout=TIMEOUT)).suppression.name == made.suppression.name
    assert not (await stub.ListFindings(pb.ListFindingsRequest(), timeout=TIMEOUT)).findings
    listed = await stub.ListSuppressions(pb.ListSuppressionsRequest(), timeout=TIMEOUT)
    assert [one.name for one in listed.suppressions] == [made.suppression.name]
    ended = await stub.DeleteSuppression(pb.DeleteSuppressionRequest(name=made.suppression.name), timeout=TIMEOUT)
    assert ended.findings_reopened == 2
    wanted.ClearField("expire_time")
    error = await failure(stub.CreateSuppression(pb.CreateSuppressionRequest(suppression=wanted), timeout=TIMEOUT))
    assert error.fields[0].field == "suppression.expire_time"


async def test_every_detector_describes_itself(stub: Any, columns: Any) -> None:
    await stub.AnalyzeBatch(pb.AnalyzeBatchRequest(batch=columns(0, 30)), timeout=TIMEOUT)
    detectors = {d.name: d for d in (await stub.ListDetectors(pb.ListDetectorsRequest(), timeout=TIMEOUT)).detectors}
    assert list(detectors) == sorted(detectors)
    assert set(detectors) >= {"brute-force", "horizontal-scan", "model", "sequential-scan", "vertical-scan"}
    scan = detectors["horizontal-scan"]
    assert {t.name: t.value for t in scan.thresholds}["remote_destinations"] == 25
    # One source and thirty destinations, in five minutes and in ten seconds.
    assert scan.state.entries == 62
    assert {t.id for t in scan.techniques} == {"T1046", "T1595.001", "T1018"}
    fields = {*flow_pb2.FlowRecord.DESCRIPTOR.fields_by_name, *flow_pb2.FlowBatch.DESCRIPTOR.fields_by_name}
    assert all(set(detector.required_fields) <= fields for detector in detectors.values())
