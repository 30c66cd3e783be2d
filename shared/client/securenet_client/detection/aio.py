"""The asyncio client of the detection service."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import datetime

from securenet.detection.v1 import detection_pb2 as pb
from securenet.detection.v1 import detection_pb2_grpc
from securenet_client.connection import AsyncClient, ConnectionSettings
from securenet_client.detection import requests
from securenet_client.detection.convert import Verdicts, batch_options, pack_batch, pack_flow, unpack_verdicts
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
