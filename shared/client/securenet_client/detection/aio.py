"""The asyncio client of the detection service."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, intel_pb2
from securenet_client.connection import AsyncClient, ConnectionSettings
from securenet_client.detection import requests
from securenet_client.detection.convert import Verdicts, batch_options, pack_batch, pack_flow, unpack_verdicts
from securenet_client.detection.intel import (
    FeedOptions,
    IndicatorFeed,
    IndicatorImport,
    IndicatorMatch,
    upload,
)
from securenet_client.detection.records import (
    Detector,
    Finding,
    FindingChange,
    Flow,
    ModelServing,
    ThreatLevel,
    Verdict,
)
from securenet_client.detection.streaming import IN_FLIGHT, ROWS, AsyncBatchSender
from securenet_client.messages import read
from securenet_flows.batch import FlowBatch


class AsyncDetectionClient(AsyncClient):
    """Asks the detection service. Every method may raise :class:`securenet_core.exceptions.SecurenetError`."""

    service = "detection"

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        super().__init__(address, settings)
        self._stub = detection_pb2_grpc.DetectionServiceStub(self._call.channel)

    async def analyze(self, flow: Flow, *, dry_run: bool = False, timeout: float | None = None) -> Verdict:  # noqa: ASYNC109 - gRPC's own deadline
        """The verdict of one flow. A dry run learns nothing from it."""
        request = pb.AnalyzeRequest(flow=pack_flow(flow), dry_run=dry_run)
        return read(Verdict, (await self._call.unary(self._stub.Analyze, request, timeout)).verdict)

    async def analyze_batch(
        self,
        batch: FlowBatch,
        *,
        dry_run: bool = False,
        detail_level: ThreatLevel = ThreatLevel.MEDIUM,
        state_scope: str = "",
    ) -> Verdicts:
        """The verdicts of 1 to 65,536 flows; rows at or above `detail_level` with their evidence.

        `state_scope` names the state that they build up and are judged by; the tenant's own by default.
        """
        options = batch_options(dry_run=dry_run, detail_level=detail_level, state_scope=state_scope)
        request = pb.AnalyzeBatchRequest(batch=pack_batch(batch), options=options)
        return unpack_verdicts((await self._call.unary(self._stub.AnalyzeBatch, request)).verdicts)

    async def analyze_batches(
        self,
        batches: Iterable[FlowBatch] | AsyncIterable[FlowBatch],
        *,
        dry_run: bool = False,
        detail_level: ThreatLevel = ThreatLevel.MEDIUM,
        rows: int = ROWS,
        in_flight: int = IN_FLIGHT,
        state_scope: str = "",
    ) -> AsyncIterator[tuple[FlowBatch, Verdicts]]:
        """Streams batches of any length; gives them back cut to `rows` rows, each with its verdicts, in order.

        `state_scope` names the state that the flows build up and are judged by, which ends with the stream; the
        tenant's own, which does not, by default.
        """
        options = batch_options(dry_run=dry_run, detail_level=detail_level, state_scope=state_scope)
        sender = AsyncBatchSender(batches, options, rows, in_flight)
        async for pair in sender.pair(self._call.stream(self._stub.AnalyzeStream, sender.requests())):
            yield pair

    async def list_findings(
        self,
        *,
        min_threat_level: ThreatLevel = ThreatLevel.UNSPECIFIED,
        statuses: Sequence[str] = (),
        detector: str = "",
        entity: str = "",
        seen_after: datetime | None = None,
        page_size: int = 500,
    ) -> AsyncIterator[Finding]:
        """Findings, the latest change first, page by page."""
        request = requests.list_findings(
            level=min_threat_level, statuses=statuses, detector=detector, entity=entity, seen_after=seen_after,
            page_size=page_size,
        )  # fmt: skip
        while True:
            response = await self._call.unary(self._stub.ListFindings, request)
            for finding in response.findings:
                yield read(Finding, finding)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def get_finding(self, finding: str) -> Finding:
        """One finding, by id or resource name."""
        request = pb.GetFindingRequest(name=requests.name("findings", finding))
        return read(Finding, (await self._call.unary(self._stub.GetFinding, request)).finding)

    async def watch_findings(
        self,
        *,
        min_threat_level: ThreatLevel = ThreatLevel.UNSPECIFIED,
        include_existing: bool = False,
        resume_token: str = "",
    ) -> AsyncIterator[FindingChange]:
        """Changes as they happen, with a sign of life every 15 seconds of silence, until the caller leaves."""
        request = requests.watch_findings(min_threat_level, resume_token, include_existing=include_existing)
        async for response in self._call.stream(self._stub.WatchFindings, request):
            yield read(FindingChange, response)

    async def update_finding(
        self,
        finding: str,
        *,
        status: str | None = None,
        analyst_verdict: str | None = None,
        comment: str | None = None,
        expected_revision: int = 0,
    ) -> Finding:
        """Sets what is not None."""
        request = requests.update_finding(finding, status, analyst_verdict, comment, expected_revision)
        return read(Finding, (await self._call.unary(self._stub.UpdateFinding, request)).finding)

    async def list_detectors(self) -> tuple[Detector, ...]:
        """Every detector with its thresholds."""
        response = await self._call.unary(self._stub.ListDetectors, pb.ListDetectorsRequest())
        return tuple(read(Detector, detector) for detector in response.detectors)

    async def get_serving_model(self) -> ModelServing:
        """Which model version scores now."""
        return read(ModelServing, await self._call.unary(self._stub.GetServingModel, pb.GetServingModelRequest()))

    async def import_indicators(
        self, content: Path | bytes, options: FeedOptions, on_progress: Callable[[int], None] | None = None
    ) -> IndicatorImport:
        """Imports a feed of threat intelligence; flows are compared with it when this returns.

        Args:
            content: the feed, or its file: a list, CSV, STIX 2.1, MISP, or any of them packed with gzip.
            options: its name, and what it does not say itself.
            on_progress: hears how many bytes were handed over.
        """
        parts = _in_turns(upload(content, options, on_progress))
        return read(IndicatorImport, await self._call.upload(self._stub.ImportIndicators, parts))

    async def list_indicator_feeds(self, *, page_size: int = 500) -> AsyncIterator[IndicatorFeed]:
        """Feeds of threat intelligence, by name."""
        request = intel_pb2.ListIndicatorFeedsRequest(page_size=page_size)
        while True:
            response = await self._call.unary(self._stub.ListIndicatorFeeds, request)
            for feed in response.feeds:
                yield read(IndicatorFeed, feed)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def delete_indicator_feed(self, feed: str) -> int:
        """Takes a feed out; answers the version of the set without it."""
        request = intel_pb2.DeleteIndicatorFeedRequest(name=requests.name("indicatorFeeds", feed))
        return int((await self._call.unary(self._stub.DeleteIndicatorFeed, request)).version)

    async def lookup_indicators(self, values: Sequence[str]) -> tuple[IndicatorMatch, ...]:
        """What feeds and warning lists say of at most 1,000 values, in their order."""
        request = intel_pb2.LookupIndicatorsRequest(values=values)
        response = await self._call.unary(self._stub.LookupIndicators, request)
        return tuple(read(IndicatorMatch, match) for match in response.matches)


async def _in_turns(
    parts: Iterable[intel_pb2.ImportIndicatorsRequest],
) -> AsyncIterator[intel_pb2.ImportIndicatorsRequest]:
    for part in parts:
        yield part
