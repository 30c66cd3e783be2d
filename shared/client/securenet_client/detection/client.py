"""The synchronous client of the detection service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc, intel_pb2
from securenet_client.analysis.capture import CaptureAnalysis, capture_scope
from securenet_client.analysis.rows import AnalyzedFlow
from securenet_client.connection import Client, ConnectionSettings
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
from securenet_client.detection.streaming import IN_FLIGHT, ROWS, BatchSender
from securenet_client.messages import read, to_timestamp
from securenet_flows.batch import FlowBatch


class DetectionClient(Client):
    """Asks the detection service. Every method may raise :class:`securenet_core.exceptions.SecurenetError`.

    Args:
        address: `host:port`; what `settings` say if not given.
        settings: how to connect; the environment's by default.
    """

    service = "detection"

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        super().__init__(address, settings)
        self._stub = detection_pb2_grpc.DetectionServiceStub(self._call.channel)

    def analyze(self, flow: Flow, *, dry_run: bool = False, timeout: float | None = None) -> Verdict:
        """The verdict of one flow. A dry run learns nothing from it."""
        request = pb.AnalyzeRequest(flow=pack_flow(flow), dry_run=dry_run)
        return read(Verdict, self._call.unary(self._stub.Analyze, request, timeout).verdict)

    def analyze_batch(
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
        return unpack_verdicts(self._call.unary(self._stub.AnalyzeBatch, request).verdicts)

    def analyze_batches(
        self,
        batches: Iterable[FlowBatch],
        *,
        dry_run: bool = False,
        detail_level: ThreatLevel = ThreatLevel.MEDIUM,
        rows: int = ROWS,
        in_flight: int = IN_FLIGHT,
        state_scope: str = "",
    ) -> Iterator[tuple[FlowBatch, Verdicts]]:
        """Streams batches of any length; gives them back cut to `rows` rows, each with its verdicts, in order.

        Args:
            batches: read in a thread of their own, no further than `in_flight` messages ahead of the answers.
            dry_run: learn nothing.
            detail_level: rows at or above it come with their evidence.
            rows: of one message.
            in_flight: messages that may wait for their answer.
            state_scope: names the state that the flows build up and are judged by, which ends with the stream; the
                tenant's own, which does not, by default.
        """
        options = batch_options(dry_run=dry_run, detail_level=detail_level, state_scope=state_scope)
        sender = BatchSender(batches, options, rows, in_flight)
        with closing(sender.pair(self._call.stream(self._stub.AnalyzeStream, sender.requests()))) as pairs:
            yield from pairs

    def analyze_file(self, path: str | Path, *, once: bool = False) -> Iterator[AnalyzedFlow]:
        """Every flow of a file or directory with its verdict, in the order of the input.

        The file's behaviours are its own: they neither add to what else is known of its addresses nor take from it.

        Args:
            path: Zeek, Suricata, NetFlow, Argus or CSV flow logs, pcap, known by their content; `-` is standard input.
            once: the streaming answer, flow by flow; else the file is read to its end first, and flows that turn out
                to belong to a finding carry its level.

        Raises:
            securenet_flows.FlowDataError: the file cannot be read.
        """
        from securenet_flows import read_flows  # noqa: PLC0415 - loads Arrow, which who sends single flows does not need

        analysis = CaptureAnalysis(self, read_flows(path), scope=capture_scope([str(path)]), once=once)
        for rows in analysis:
            yield from rows.flows(analysis.names)

    def list_findings(
        self,
        *,
        min_threat_level: ThreatLevel = ThreatLevel.UNSPECIFIED,
        statuses: Sequence[str] = (),
        detector: str = "",
        entity: str = "",
        seen_after: datetime | None = None,
        page_size: int = 500,
    ) -> Iterator[Finding]:
        """Findings, the latest change first, page by page. `statuses`: new, in-progress, suppressed, resolved."""
        request = requests.list_findings(
            level=min_threat_level, statuses=statuses, detector=detector, entity=entity, seen_after=seen_after,
            page_size=page_size,
        )  # fmt: skip
        for finding in self._call.pages(self._stub.ListFindings, request, "findings"):
            yield read(Finding, finding)

    def get_finding(self, finding: str) -> Finding:
        """One finding, by id or resource name."""
        request = pb.GetFindingRequest(name=requests.name("findings", finding))
        return read(Finding, self._call.unary(self._stub.GetFinding, request).finding)

    def watch_findings(
        self,
        *,
        min_threat_level: ThreatLevel = ThreatLevel.UNSPECIFIED,
        include_existing: bool = False,
        resume_token: str = "",
    ) -> Iterator[FindingChange]:
        """Changes as they happen, with a sign of life every 15 seconds of silence, until the caller leaves."""
        request = requests.watch_findings(min_threat_level, resume_token, include_existing=include_existing)
        with closing(self._call.stream(self._stub.WatchFindings, request)) as responses:
            for response in responses:
                yield read(FindingChange, response)

    def update_finding(
        self,
        finding: str,
        *,
        status: str | None = None,
        analyst_verdict: str | None = None,
        comment: str | None = None,
        expected_revision: int = 0,
    ) -> Finding:
        """Sets what is not None. `analyst_verdict`: true-positive, false-positive, benign."""
        request = requests.update_finding(finding, status, analyst_verdict, comment, expected_revision)
        return read(Finding, self._call.unary(self._stub.UpdateFinding, request).finding)

    def list_finding_events(self, finding: str, *, page_size: int = 100) -> Iterator[FindingEvent]:
        """Who changed a finding, how and when, the latest first."""
        request = pb.ListFindingEventsRequest(name=requests.name("findings", finding), page_size=page_size)
        for event in self._call.pages(self._stub.ListFindingEvents, request, "events"):
            yield read(FindingEvent, event)

    def export_labels(self, *, labeled_after: datetime | None = None) -> Iterator[dict[str, Any]]:
        """Flows that a person has judged, each as a record of Zeek's conn.log with its label."""
        request = pb.ExportLabelsRequest()
        if labeled_after is not None:
            request.labeled_after_time.CopyFrom(to_timestamp(labeled_after))
        with closing(self._call.stream(self._stub.ExportLabels, request)) as responses:
            for response in responses:
                yield labeled_record(response.labeled_flow)

    def preview_suppression(
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
        response = self._call.unary(self._stub.PreviewSuppression, pb.PreviewSuppressionRequest(suppression=wanted))
        return response.finding_count, tuple(read(Finding, finding) for finding in response.findings)

    def create_suppression(
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
        return read(Suppression, self._call.unary(self._stub.CreateSuppression, request).suppression)

    def list_suppressions(self, *, page_size: int = 500) -> Iterator[Suppression]:
        """Suppressions that have not expired."""
        request = pb.ListSuppressionsRequest(page_size=page_size)
        for suppression in self._call.pages(self._stub.ListSuppressions, request, "suppressions"):
            yield read(Suppression, suppression)

    def delete_suppression(self, suppression: str) -> int:
        """Ends a suppression; answers how many findings are open again."""
        request = pb.DeleteSuppressionRequest(name=requests.name("suppressions", suppression))
        return int(self._call.unary(self._stub.DeleteSuppression, request).findings_reopened)

    def list_detectors(self) -> tuple[Detector, ...]:
        """Every detector with its thresholds."""
        response = self._call.unary(self._stub.ListDetectors, pb.ListDetectorsRequest())
        return tuple(read(Detector, detector) for detector in response.detectors)

    def get_serving_model(self) -> ModelServing:
        """Which model version scores now."""
        return read(ModelServing, self._call.unary(self._stub.GetServingModel, pb.GetServingModelRequest()))

    def import_indicators(
        self, content: Path | bytes, options: FeedOptions, on_progress: Callable[[int], None] | None = None
    ) -> IndicatorImport:
        """Imports a feed of threat intelligence; flows are compared with it when this returns.

        Args:
            content: the feed, or its file: a list, CSV, STIX 2.1, MISP, or any of them packed with gzip.
            options: its name, and what it does not say itself.
            on_progress: hears how many bytes were handed over.
        """
        parts = upload(content, options, on_progress)
        return read(IndicatorImport, self._call.upload(self._stub.ImportIndicators, parts))

    def list_indicator_feeds(self, *, page_size: int = 500) -> Iterator[IndicatorFeed]:
        """Feeds of threat intelligence, by name."""
        request = intel_pb2.ListIndicatorFeedsRequest(page_size=page_size)
        for feed in self._call.pages(self._stub.ListIndicatorFeeds, request, "feeds"):
            yield read(IndicatorFeed, feed)

    def delete_indicator_feed(self, feed: str) -> int:
        """Takes a feed out; answers the version of the set without it."""
        request = intel_pb2.DeleteIndicatorFeedRequest(name=requests.name("indicatorFeeds", feed))
        return int(self._call.unary(self._stub.DeleteIndicatorFeed, request).version)

    def lookup_indicators(self, values: Sequence[str]) -> tuple[IndicatorMatch, ...]:
        """What feeds and warning lists say of at most 1,000 values, in their order."""
        request = intel_pb2.LookupIndicatorsRequest(values=values)
        response = self._call.unary(self._stub.LookupIndicators, request)
        return tuple(read(IndicatorMatch, match) for match in response.matches)
