"""Feeds over loopback: imported, in use at once, kept, swapped under load, and gone again."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, flow_pb2, intel_pb2, verdict_pb2
from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_core.exceptions import (
    AlreadyExistsError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
)
from securenet_core.status import from_rpc_error
from securenet_detection.settings import IntelSettings

pytestmark = pytest.mark.integration

TIMEOUT = 60


def parts(content: bytes, *, size: int = 1 << 20, **header: Any) -> Iterator[intel_pb2.ImportIndicatorsRequest]:
    yield intel_pb2.ImportIndicatorsRequest(header=intel_pb2.ImportIndicatorsHeader(**{"feed": "blocks", **header}))
    for start in range(0, len(content), size):
        yield intel_pb2.ImportIndicatorsRequest(chunk=content[start : start + size])


async def send(stub: Any, content: bytes, **header: Any) -> Any:
    return await stub.ImportIndicators(parts(content, **header), timeout=TIMEOUT)


async def failure(call: Any) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


def flow(number: int, *, src: str = "10.0.0.5", dst: str = "203.0.113.9", **fields: Any) -> flow_pb2.FlowRecord:
    record = flow_pb2.FlowRecord(
        flow_id=f"C{number}", src_ip=src, dst_ip=dst, src_port=40000, dst_port=443,
        protocol=flow_pb2.TRANSPORT_PROTOCOL_TCP,
        **{
            "conn_state": flow_pb2.CONN_STATE_SF, "orig_bytes": 900, "resp_bytes": 9000, "orig_pkts": 9, "resp_pkts": 9,
            **fields,
        },
    )  # fmt: skip
    record.start_time.seconds = 1_767_225_600 + number
    record.duration.seconds = 1
    return record


async def verdict(stub: Any, record: flow_pb2.FlowRecord) -> Any:
    return (await stub.Analyze(pb.AnalyzeRequest(flow=record), timeout=TIMEOUT)).verdict


async def test_a_listed_address_is_evidence_that_names_feed_indicator_and_date(stub: Any) -> None:
    before = await verdict(stub, flow(1))
    assert "threat-intel" in {skipped.detector for skipped in before.skipped}
    content = b"# Last update: 2026-01-01T06:00:00+00:00\n# Licence: CC0\n203.0.113.0/24\n"
    imported = await send(stub, content, confidence=90)
    assert (imported.feed.name, imported.feed.format, imported.feed.licence) == ("indicatorFeeds/blocks", "list", "CC0")
    assert (imported.feed.indicator_count, imported.version) == (1, 1)
    found = await verdict(stub, flow(2))
    assert found.threat_level == verdict_pb2.THREAT_LEVEL_HIGH
    (evidence,) = found.evidence
    assert evidence.detector == "threat-intel"
    assert evidence.analytic_type == verdict_pb2.ANALYTIC_TYPE_RULE
    assert evidence.confidence == pytest.approx(0.9)
    for word in ("10.0.0.5", "203.0.113.9", "feed blocks", "203.0.113.0/24", "2026-01-01", "90 %"):
        assert word in evidence.summary
    listed = await stub.ListFindings(pb.ListFindingsRequest(detector="threat-intel"), timeout=TIMEOUT)
    assert [(one.entity, list(one.peers)) for one in listed.findings] == [("10.0.0.5", ["203.0.113.9"])]


async def test_findings_are_one_a_host_and_indicator(stub: Any) -> None:
    await send(stub, b"203.0.113.0/24\nevil.example\n")
    for number in range(4):
        await verdict(stub, flow(number, dst=f"203.0.113.{number + 1}"))
    query = flow_pb2.DnsActivity(query="a.evil.example")
    await verdict(stub, flow(5, dst="192.0.2.53", dns=query))
    await verdict(stub, flow(6, src="10.0.0.6", dst="203.0.113.1"))
    listed = await stub.ListFindings(pb.ListFindingsRequest(detector="threat-intel"), timeout=TIMEOUT)
    assert sorted((one.entity, one.count) for one in listed.findings) == [
        ("10.0.0.5", 1), ("10.0.0.5", 4), ("10.0.0.6", 1),
    ]  # fmt: skip


async def test_a_behaviour_beside_an_indicator_is_critical(stub: Any) -> None:
    await send(stub, b"203.0.113.9\n", confidence=95)
    last = verdict_pb2.Verdict()
    for number in range(60):
        record = flow(number)
        record.dst_port = 22
        record.service = "ssh"
        record.orig_bytes, record.resp_bytes = 1900, 2400
        record.ssh.auth_success = False
        record.ssh.auth_attempts = 3
        last = await verdict(stub, record)
    assert {"threat-intel", "brute-force"} <= {evidence.detector for evidence in last.evidence}
    assert last.threat_level == verdict_pb2.THREAT_LEVEL_CRITICAL


async def test_warning_lists_subtract_and_feeds_go(stub: Any) -> None:
    await send(stub, b"203.0.113.9\nevil.example\n")
    warned = json.dumps({"name": "ours", "type": "cidr", "list": ["203.0.113.0/28"], "version": 1}).encode()
    imported = await send(stub, warned, feed="ours", warning_list=True)
    assert imported.feed.format == "misp-warninglist"
    assert not (await verdict(stub, flow(1))).evidence
    listed = await stub.ListIndicatorFeeds(intel_pb2.ListIndicatorFeedsRequest(), timeout=TIMEOUT)
    assert {feed.name: feed.subtracted_count for feed in listed.feeds} == {
        "indicatorFeeds/blocks": 1, "indicatorFeeds/ours": 0,
    }  # fmt: skip
    asked = intel_pb2.LookupIndicatorsRequest(values=["203.0.113.9", "www.evil.example", "198.51.100.1", "?"])
    answer = await stub.LookupIndicators(asked, timeout=TIMEOUT)
    assert [len(match.indicators) for match in answer.matches] == [1, 1, 0, 0]
    assert answer.matches[0].indicators[0].subtracted
    assert answer.matches[0].warnings[0].feed == "indicatorFeeds/ours"
    assert "expected" in answer.matches[3].error
    removed = intel_pb2.DeleteIndicatorFeedRequest(name="indicatorFeeds/ours")
    await stub.DeleteIndicatorFeed(removed, timeout=TIMEOUT)
    assert (await verdict(stub, flow(2))).evidence
    assert isinstance(await failure(stub.DeleteIndicatorFeed(removed, timeout=TIMEOUT)), NotFoundError)


async def test_feeds_are_listed_page_by_page(stub: Any) -> None:
    for name in ("c", "a", "b"):
        await send(stub, b"203.0.113.9\n", feed=name)
    request = intel_pb2.ListIndicatorFeedsRequest(page_size=2)
    first = await stub.ListIndicatorFeeds(request, timeout=TIMEOUT)
    request.page_token = first.next_page_token
    second = await stub.ListIndicatorFeeds(request, timeout=TIMEOUT)
    assert [feed.name[-1] for feed in (*first.feeds, *second.feeds)] == ["a", "b", "c"]
    assert not second.next_page_token


async def test_what_is_wrong_is_said_and_changes_nothing(start_server: Any) -> None:
    server = await start_server(intel=IntelSettings(max_feed_bytes=4096, max_indicators=20))
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        await send(stub, b"203.0.113.9\n")
        again = await send(stub, b"203.0.113.9\n")
        assert again.feed.indicator_count == 1
        for content, header, kind in (
            (b"203.0.113.10\n", {}, AlreadyExistsError),
            (b"not an indicator\n", {"feed": "b"}, InvalidArgumentError),
            (b"#" * 5000, {"feed": "b"}, ResourceExhaustedError),
            (gzip.compress(b"#" * 50_000), {"feed": "b"}, ResourceExhaustedError),
            (b"".join(b"203.0.113.%d\n" % n for n in range(1, 25)), {"feed": "b"}, ResourceExhaustedError),
            (b"203.0.113.10\n", {"feed": "Not a name"}, InvalidArgumentError),
        ):
            assert isinstance(await failure(send(stub, content, **header)), kind), (content[:40], header)
        headless = iter([intel_pb2.ImportIndicatorsRequest(chunk=b"203.0.113.10\n")])
        assert isinstance(await failure(stub.ImportIndicators(headless, timeout=TIMEOUT)), InvalidArgumentError)
        listed = await stub.ListIndicatorFeeds(intel_pb2.ListIndicatorFeedsRequest(), timeout=TIMEOUT)
        assert [(feed.name, feed.indicator_count) for feed in listed.feeds] == [("indicatorFeeds/blocks", 1)]
        replaced = await send(stub, b"203.0.113.10\nnonsense\n", replace=True)
        assert [(one.place, replaced.feed.rejected_count) for one in replaced.rejections] == [("line 2", 1)]
        assert not (await verdict(stub, flow(1))).evidence
    await server.stop()


async def test_feeds_survive_a_restart_and_a_broken_file_is_said(start_server: Any, tmp_path: Path) -> None:
    server = await start_server()
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        await send(detection_pb2_grpc.DetectionServiceStub(channel), b"203.0.113.9\n")
    await server.stop()
    server = await start_server()
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        stub = detection_pb2_grpc.DetectionServiceStub(channel)
        assert (await verdict(stub, flow(1))).evidence
    await server.stop()
    (path,) = (tmp_path / "data" / "intel").glob("*.intel")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    server = await start_server()
    report = server.health.report()["probes"]["intel"]
    assert "digest" in report["detail"]
    async with open_aio_channel(ChannelSettings(server.address)) as channel:
        assert not (await verdict(detection_pb2_grpc.DetectionServiceStub(channel), flow(1))).evidence
    await server.stop()


async def test_no_call_fails_while_feeds_are_swapped(stub: Any, columns: Any) -> None:
    listed = b"".join(b"198.18.%d.%d\n" % (n // 250, n % 250 + 1) for n in range(20_000))
    done = asyncio.Event()
    seen: set[bool] = set()

    async def unary(first: int) -> int:
        number = first
        while not done.is_set():
            found = await verdict(stub, flow(number, src=f"10.0.{first // 1_000_000}.9"))
            seen.add(any(evidence.detector == "threat-intel" for evidence in found.evidence))
            number += 1
        return number - first

    async def batches() -> int:
        count = 0
        while not done.is_set():
            request = pb.AnalyzeBatchRequest(batch=columns(0, 200, flow_id=[]))
            response = await stub.AnalyzeBatch(request, timeout=TIMEOUT)
            assert len(response.verdicts.threat_level) == 200
            count += 1
        return count

    calls = [asyncio.create_task(unary(n * 1_000_000)) for n in range(4)] + [asyncio.create_task(batches())]
    for round_number in range(6):
        extra = b"203.0.113.9\n" if round_number % 2 else b""
        await send(stub, listed + extra + b"# %d\n" % round_number, replace=True)
    done.set()
    counts = await asyncio.gather(*calls)
    assert all(count > 0 for count in counts)
    assert seen == {False, True}


async def test_real_feeds(stub: Any, shared_data: Path) -> None:
    folder = shared_data / "intel"
    imported = await send(stub, (folder / "ipsum" / "ipsum.txt.gz").read_bytes(), feed="ipsum")
    assert imported.feed.indicator_count > 100_000
    assert imported.feed.rejected_count == 0
    assert imported.feed.data_time.seconds > 0
    stix = folder / "stix" / "cti-documentation" / "examples" / "example_json" / "poisonivy.json"
    imported = await send(stub, stix.read_bytes(), feed="poisonivy")
    assert (imported.feed.format, imported.feed.rejected_count) == ("stix", 1)
    misp = folder / "misp" / "tests" / "mispevent_testfiles" / "existing_event.json.gz"
    imported = await send(stub, misp.read_bytes(), feed="misp")
    assert (imported.feed.format, imported.feed.indicator_count) == ("misp", 29)
    asked = intel_pb2.LookupIndicatorsRequest(values=["77.90.185.20", "113.10.246.30"])
    answer = await stub.LookupIndicators(asked, timeout=TIMEOUT)
    assert answer.matches[0].indicators[0].feed == "indicatorFeeds/ipsum"
    assert answer.matches[1].indicators[0].indicator_id.startswith("indicator--")
    found = await verdict(stub, flow(1, dst="77.90.185.20"))
    assert found.threat_level == verdict_pb2.THREAT_LEVEL_HIGH


async def test_a_caller_that_leaves_neither_breaks_nor_holds_up_anything(stub: Any) -> None:
    listed = b"".join(b"198.18.%d.%d\n" % (n // 250, n % 250 + 1) for n in range(20_000))
    for wait in (0.0, 0.02, 0.1):
        call = stub.ImportIndicators(parts(listed, replace=True, size=4096), timeout=TIMEOUT)
        await asyncio.sleep(wait)
        call.cancel()
    for _ in range(10):
        await send(stub, listed + b"203.0.113.9\n", replace=True)
    assert (await verdict(stub, flow(1))).evidence
    feeds = await stub.ListIndicatorFeeds(intel_pb2.ListIndicatorFeedsRequest(), timeout=TIMEOUT)
    assert [feed.indicator_count for feed in feeds.feeds] == [20_001]
