"""The asyncio client of the detection service."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

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
from securenet_client.detection.labels import labeled_record
from securenet_client.detection.records import (
    Detector,
    Finding,
    FindingChange,
    FindingEvent,
    Flow,
    ModelServing,
    Suppression,
    ThreatLevel,
    Verdict,
)
from securenet_client.detection.streaming import IN_FLIGHT, ROWS, AsyncBatchSender
from securenet_client.messages import read, to_timestamp
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
        async for finding in self._call.pages(self._stub.ListFindings, request, "findings"):
            yield read(Finding, finding)

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

    async def list_finding_events(self, finding: str, *, page_size: int = 100) -> AsyncIterator[FindingEvent]:
        """Who changed a finding, how and when, the latest first."""
        request = pb.ListFindingEventsRequest(name=requests.name("findings", finding), page_size=page_size)
        async for event in self._call.pages(self._stub.ListFindingEvents, request, "events"):
            yield read(FindingEvent, event)

    async def export_labels(self, *, labeled_after: datetime | None = None) -> AsyncIterator[dict[str, Any]]:
        """Flows that a person has judged, each as a record of Zeek's conn.log with its label."""
        request = pb.ExportLabelsRequest()
        if labeled_after is not None:
            request.labeled_after_time.CopyFrom(to_timestamp(labeled_after))
        async for response in self._call.stream(self._stub.ExportLabels, request):
            yield labeled_record(response.labeled_flow)

    async def preview_suppression(
        self,
        *,
        expires: datetime,
        reason: str = "",
        detector: str = "",
        entity_cidr: str = "",
        peer_cidr: str = "",
        port: int | None = None,
    ) -> tuple[int, tuple[Finding, ...]]:
        """How many findings a suppression would hold back, and at most 100 of them, the gravest first."""
        wanted = requests.suppression(
            expires=expires, reason=reason, detector=detector, entity_cidr=entity_cidr, peer_cidr=peer_cidr, port=port
        )
        response = await self._call.unary(
            self._stub.PreviewSuppression, pb.PreviewSuppressionRequest(suppression=wanted)
        )
        return response.finding_count, tuple(read(Finding, finding) for finding in response.findings)

    async def create_suppression(
        self,
        *,
        expires: datetime,
        reason: str,
        detector: str = "",
        entity_cidr: str = "",
        peer_cidr: str = "",
        port: int | None = None,
        request_id: str = "",
    ) -> Suppression:
        """Keeps findings that match all given conditions out of the list until `expires`."""
        wanted = requests.suppression(
            expires=expires, reason=reason, detector=detector, entity_cidr=entity_cidr, peer_cidr=peer_cidr, port=port
        )
        request = pb.CreateSuppressionRequest(suppression=wanted, request_id=request_id)
        return read(Suppression, (await self._call.unary(self._stub.CreateSuppression, request)).suppression)

    async def list_suppressions(self, *, page_size: int = 500) -> AsyncIterator[Suppression]:
        """Suppressions that have not expired."""
        request = pb.ListSuppressionsRequest(page_size=page_size)
        async for suppression in self._call.pages(self._stub.ListSuppressions, request, "suppressions"):
            yield read(Suppression, suppression)

    async def delete_suppression(self, suppression: str) -> int:
        """Ends a suppression; answers how many findings are open again."""
        request = pb.DeleteSuppressionRequest(name=requests.name("suppressions", suppression))
        return int((await self._call.unary(self._stub.DeleteSuppression, request)).findings_reopened)

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
        async for feed in self._call.pages(self._stub.ListIndicatorFeeds, request, "feeds"):
            yield read(IndicatorFeed, feed)

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
