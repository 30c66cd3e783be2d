"""The servicer: unpack, call a use-case, pack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.descriptor import ServiceDescriptor

from securenet.detection.v1 import detection_pb2, intel_pb2, peers_pb2, verdict_pb2
from securenet_core.authorization import Policy
from securenet_core.exceptions import InvalidArgumentError
from securenet_core.pagination import decode_page_token, encode_page_token, page_size
from securenet_core.principal import Role, current_principal
from securenet_detection import convert, grpc_flows, grpc_intel, grpc_verdicts
from securenet_detection.analysis import Analysis
from securenet_detection.batching import Batcher
from securenet_detection.engine import Engine
from securenet_detection.findings.ledger import Ledger
from securenet_detection.findings.resumption import resume_position, resume_token
from securenet_detection.intel.library import IntelLibrary
from securenet_detection.load import Taken
from securenet_detection.models.serving import ModelSlot
from securenet_detection.pipeline import Prepared, in_order

DESCRIPTOR: Final[ServiceDescriptor] = detection_pb2.DESCRIPTOR.services_by_name["DetectionService"]

#: What the processes of the service ask each other.
PEER_DESCRIPTOR: Final[ServiceDescriptor] = peers_pb2.DESCRIPTOR.services_by_name["PeerService"]

_ANYBODY: Final = frozenset(Role)
_ANALYSTS: Final = frozenset({Role.ANALYST, Role.ADMIN})
_PREVIEW: Final = 100

#: Findings that are packed before other calls get their turn; each takes some 25 microseconds.
_STRETCH: Final = 40

Thing = TypeVar("Thing")
Message = TypeVar("Message")

#: Which roles may call what, as the contract's comments say.
POLICY: Final = Policy(
    {
        f"{DESCRIPTOR.full_name}/{method}": roles
        for roles, methods in (
            (_ANYBODY - {Role.READER}, ("Analyze", "AnalyzeBatch", "AnalyzeStream")),
            (
                _ANYBODY,
                (
                    "ListFindings", "GetFinding", "WatchFindings", "ListFindingEvents", "ExportLabels",
                    "ListSuppressions", "ListDetectors", "GetServingModel", "ListIndicatorFeeds", "LookupIndicators",
                ),
            ),
            (
                _ANALYSTS,
                (
                    "UpdateFinding", "CreateSuppression", "DeleteSuppression", "PreviewSuppression", "ImportIndicators",
                    "DeleteIndicatorFeed",
                ),
            ),
        )
        for method in methods
    }
)  # fmt: skip

#: The process that took a call has asked who may.
PEER_POLICY: Final = Policy(
    {
        f"{DESCRIPTOR.full_name}/AnalyzeBatch": _ANYBODY,
        f"{DESCRIPTOR.full_name}/AnalyzeStream": _ANYBODY,
        f"{PEER_DESCRIPTOR.full_name}/AnalyzeTogether": _ANYBODY,
    }
)


class _Asked(NamedTuple):
    row: grpc_flows.FlowRow
    taken: Taken
    tenant: str
    dry_run: bool
    without_model: bool


@dataclass(slots=True)
class _Answered:
    response: detection_pb2.AnalyzeResponse
    kept: asyncio.Task[None] | None


class DetectionServicer:
    """DetectionService.

    Args:
        analysis: scores and records.
        engine: describes its detectors.
        ledger: findings.
        models: what serves.
        anomalies: which anomaly model does.
        intel: feeds of indicators.
        batch_limit, batch_window: of unary calls.
        stream_window: batches of a stream that may be scored and not yet stored.
    """

    def __init__(
        self,
        *,
        analysis: Analysis,
        engine: Engine,
        ledger: Ledger,
        models: ModelSlot,
        anomalies: ModelSlot,
        intel: IntelLibrary,
        batch_limit: int,
        batch_window: float,
        stream_window: int,
    ) -> None:
        self._analysis = analysis
        self._engine = engine
        self._ledger = ledger
        self._models = models
        self._anomalies = anomalies
        self._intel = intel
        self._batcher = Batcher(self._score, limit=batch_limit, window=batch_window)
        self._stream_window = stream_window

    async def Analyze(self, request: detection_pb2.AnalyzeRequest, _context: Any) -> detection_pb2.AnalyzeResponse:
        """Scores one flow."""
        with self._analysis.take(1) as taken:
            row, tenant = grpc_flows.flow_row(request.flow), current_principal().tenant
            answered = await self._batcher.submit(_Asked(row, taken, tenant, request.dry_run, taken.without_model))
        if answered.kept is not None:
            await asyncio.shield(answered.kept)
        return answered.response

    def _score(self, batch: Sequence[_Asked]) -> list[_Answered]:
        """Scores calls that came together: neighbours of one tenant at a stretch, in order of arrival."""
        answers: list[_Answered] = []
        start = 0
        while start < len(batch):
            key = batch[start][2:]
            end = start
            while end < len(batch) and batch[end][2:] == key:
                end += 1
            tenant, dry_run, without_model = key
            together = batch[start:end]
            columns = grpc_flows.rows_as_batch([asked.row for asked in together])
            verdicts = self._analysis.score(columns, tenant=tenant, dry_run=dry_run, without_model=without_model)
            kept = self._analysis.keep(verdicts)
            reporting = {*(row for row, _ in verdicts.sightings), *verdicts.again.tolist()} if kept is not None else ()
            answers += [
                _Answered(
                    grpc_verdicts.response(verdicts, row, details=not asked.taken.without_details),
                    kept if row in reporting else None,
                )
                for row, asked in enumerate(together)
            ]
            start = end
        return answers

    async def AnalyzeTogether(
        self, request: peers_pb2.AnalyzeTogetherRequest, _context: Any
    ) -> peers_pb2.AnalyzeTogetherResponse:
        """Scores calls that another process of the service took."""
        with self._analysis.take(len(request.flows)) as taken:
            tenant, shed = current_principal().tenant, taken.without_model
            # All are read before any is scored: where one cannot be right, nothing was done.
            rows = [grpc_flows.flow_row(flow) for flow in request.flows]
            asked = [_Asked(row, taken, tenant, request.dry_run, shed) for row in rows]
            # With the calls that came to this process itself: a batch costs much more than a flow in it.
            answers = await asyncio.gather(*map(self._batcher.submit, asked))
        for kept in {answered.kept for answered in answers if answered.kept is not None}:
            await asyncio.shield(kept)
        return peers_pb2.AnalyzeTogetherResponse(verdicts=[answered.response.verdict for answered in answers])

    async def AnalyzeBatch(
        self, request: detection_pb2.AnalyzeBatchRequest, _context: Any
    ) -> detection_pb2.AnalyzeBatchResponse:
        """Scores columns."""
        response = detection_pb2.AnalyzeBatchResponse()
        with self._analysis.take(len(request.batch.start_time_ns)) as taken:
            kept = await self._score_batch(request, taken, current_principal().tenant, response.verdicts)
        if kept is not None:
            await kept
        return response

    async def _score_batch(
        self,
        request: detection_pb2.AnalyzeBatchRequest | detection_pb2.AnalyzeStreamRequest,
        taken: Taken,
        tenant: str,
        into: verdict_pb2.VerdictBatch,
    ) -> asyncio.Future[list[None]] | None:
        columns = grpc_flows.flow_batch(request.batch)
        level = request.options.detail_level
        packer = grpc_verdicts.VerdictPacker(into, columns, level, details=not taken.without_details)
        pending = []
        async for start, verdicts in self._analysis.chunks(
            columns.batch,
            taken,
            tenant=tenant,
            scope=request.options.state_scope,
            dry_run=request.options.dry_run,
        ):
            packer.add(start, verdicts)
            # At once, so that a caller that goes away between two pieces takes no finding with it.
            kept = self._analysis.keep(verdicts)
            pending += [kept] if kept is not None else []
        packer.finish()
        return asyncio.gather(*pending) if pending else None

    async def AnalyzeStream(
        self, requests: AsyncIterator[detection_pb2.AnalyzeStreamRequest], _context: Any
    ) -> AsyncIterator[detection_pb2.AnalyzeStreamResponse]:
        """Scores batches as they come, while findings of the ones before are being stored."""
        tenant, let_in = current_principal().tenant, False

        async def prepare(
            request: detection_pb2.AnalyzeStreamRequest,
        ) -> Prepared[detection_pb2.AnalyzeStreamResponse]:
            nonlocal let_in
            response = detection_pb2.AnalyzeStreamResponse(sequence=request.sequence)
            # Only a stream's first message is refused: it sends no more than what is taken, so it is held back instead.
            with self._analysis.take(len(request.batch.start_time_ns), refusable=not let_in) as taken:
                let_in = True
                if not request.options.dry_run:
                    lease.hold(request.options.state_scope)
                kept = await self._score_batch(request, taken, tenant, response.verdicts)
            return response, kept

        # The scoring side ends first, then what it held is given back, however the caller leaves.
        with self._analysis.lease(tenant) as lease:
            async with aclosing(in_order(requests, prepare, window=self._stream_window)) as responses:
                async for response in responses:
                    yield response

    async def ListFindings(
        self, request: detection_pb2.ListFindingsRequest, _context: Any
    ) -> detection_pb2.ListFindingsResponse:
        """A page of findings."""
        size = page_size(request.page_size)
        query = (
            request.min_threat_level, ",".join(map(str, request.statuses)), request.detector, request.entity,
            request.seen_after_time.ToJsonString() if request.HasField("seen_after_time") else "",
        )  # fmt: skip
        position = _position(request.page_token, query, int)
        found = await self._ledger.page(current_principal().tenant, convert.finding_filter(request), position, size + 1)
        return detection_pb2.ListFindingsResponse(
            findings=await _in_turns(convert.finding, found[:size]),
            next_page_token=encode_page_token([found[size - 1].change], query) if len(found) > size else "",
        )

    async def GetFinding(
        self, request: detection_pb2.GetFindingRequest, _context: Any
    ) -> detection_pb2.GetFindingResponse:
        """One finding."""
        found = await self._ledger.get(current_principal().tenant, _id(request.name))
        return detection_pb2.GetFindingResponse(finding=convert.finding(found))

    async def WatchFindings(
        self, request: detection_pb2.WatchFindingsRequest, _context: Any
    ) -> AsyncIterator[detection_pb2.WatchFindingsResponse]:
        """Findings as they change."""
        tenant, identity = current_principal().tenant, await self._ledger.identity()
        after = resume_position(request.resume_token, tenant=tenant, identity=identity)
        async for found, change in self._ledger.watch(
            tenant, after, existing=request.include_existing, min_threat_level=request.min_threat_level
        ):
            yield detection_pb2.WatchFindingsResponse(
                finding=None if found is None else convert.finding(found),
                resume_token=resume_token(change, tenant=tenant, identity=identity),
            )

    async def UpdateFinding(
        self, request: detection_pb2.UpdateFindingRequest, _context: Any
    ) -> detection_pb2.UpdateFindingResponse:
        """A person's change."""
        caller = current_principal()
        edit = convert.finding_edit(request, caller.subject)
        found = await self._ledger.edit(caller.tenant, _id(request.name), edit)
        return detection_pb2.UpdateFindingResponse(finding=convert.finding(found))

    async def ListFindingEvents(
        self, request: detection_pb2.ListFindingEventsRequest, _context: Any
    ) -> detection_pb2.ListFindingEventsResponse:
        """A page of a finding's history."""
        size, query = page_size(request.page_size), ("events", request.name)
        position = decode_page_token(request.page_token, query, length=2)
        before = None if position is None else (int(position[0] or 0), int(position[1] or 0))
        found = await self._ledger.events(current_principal().tenant, _id(request.name), before, size + 1)
        return detection_pb2.ListFindingEventsResponse(
            events=await _in_turns(convert.finding_event, found[:size]),
            next_page_token=encode_page_token([found[size - 1].change, int(found[size - 1].action)], query)
            if len(found) > size
            else "",
        )

    async def ExportLabels(
        self, request: detection_pb2.ExportLabelsRequest, _context: Any
    ) -> AsyncIterator[detection_pb2.ExportLabelsResponse]:
        """What people found out, flow by flow."""
        after_ns = convert.nanoseconds(request.labeled_after_time, "labeled_after_time")
        async for label in self._ledger.labels(current_principal().tenant, after_ns):
            for flow in convert.labeled_flows(label):
                yield detection_pb2.ExportLabelsResponse(labeled_flow=flow)

    async def CreateSuppression(
        self, request: detection_pb2.CreateSuppressionRequest, _context: Any
    ) -> detection_pb2.CreateSuppressionResponse:
        """Holds findings back."""
        caller = current_principal()
        wanted = convert.suppression(
            request.suppression, tenant=caller.tenant, by=caller.subject, now_ns=time.time_ns(),
            request_id=request.request_id,
        )  # fmt: skip
        stored, count = await self._ledger.suppress(wanted)
        return detection_pb2.CreateSuppressionResponse(
            suppression=convert.suppression_message(stored), findings_suppressed=count
        )

    async def ListSuppressions(
        self, request: detection_pb2.ListSuppressionsRequest, _context: Any
    ) -> detection_pb2.ListSuppressionsResponse:
        """A page of suppressions."""
        size = page_size(request.page_size)
        after = _position(request.page_token, (), str) or ""
        found = await self._ledger.suppressions(current_principal().tenant, after, size + 1)
        return detection_pb2.ListSuppressionsResponse(
            suppressions=await _in_turns(convert.suppression_message, found[:size]),
            next_page_token=encode_page_token([found[size - 1].id]) if len(found) > size else "",
        )

    async def DeleteSuppression(
        self, request: detection_pb2.DeleteSuppressionRequest, _context: Any
    ) -> detection_pb2.DeleteSuppressionResponse:
        """Ends a suppression."""
        caller = current_principal()
        reopened = await self._ledger.unsuppress(caller.tenant, _id(request.name), caller.subject)
        return detection_pb2.DeleteSuppressionResponse(findings_reopened=reopened)

    async def PreviewSuppression(
        self, request: detection_pb2.PreviewSuppressionRequest, _context: Any
    ) -> detection_pb2.PreviewSuppressionResponse:
        """What a suppression would hold back."""
        caller = current_principal()
        wanted = convert.suppression(
            request.suppression, tenant=caller.tenant, by=caller.subject, now_ns=time.time_ns()
        )
        count, found = await self._ledger.preview(wanted, _PREVIEW)
        return detection_pb2.PreviewSuppressionResponse(
            finding_count=count, findings=[convert.finding(one) for one in found]
        )

    async def ListDetectors(
        self, _request: detection_pb2.ListDetectorsRequest, _context: Any
    ) -> detection_pb2.ListDetectorsResponse:
        """Every detector."""
        detectors = [convert.detector(status) for status in self._engine.detectors()]
        return detection_pb2.ListDetectorsResponse(detectors=detectors)

    async def GetServingModel(
        self, _request: detection_pb2.GetServingModelRequest, _context: Any
    ) -> detection_pb2.GetServingModelResponse:
        """The model that scores."""
        return detection_pb2.GetServingModelResponse(
            current=convert.serving_model(self._models.current, self._engine.drift.report(self._models.current)),
            previous=convert.serving_model(self._models.previous, None),
            detail=self._models.detail,
            anomaly=convert.serving_model(self._anomalies.current, None),
            anomaly_detail=self._anomalies.detail,
        )

    async def ImportIndicators(
        self, requests: AsyncIterator[intel_pb2.ImportIndicatorsRequest], _context: Any
    ) -> intel_pb2.ImportIndicatorsResponse:
        """Takes in a feed."""
        header, chunks = await grpc_intel.upload(requests)
        return grpc_intel.imported(await self._intel.import_feed(current_principal().tenant, header, chunks))

    async def ListIndicatorFeeds(
        self, request: intel_pb2.ListIndicatorFeedsRequest, _context: Any
    ) -> intel_pb2.ListIndicatorFeedsResponse:
        """A page of feeds."""
        size, tenant = page_size(request.page_size), current_principal().tenant
        after = _position(request.page_token, (), str) or ""
        found = [feed for feed in self._intel.feeds(tenant) if feed.name > after]
        return intel_pb2.ListIndicatorFeedsResponse(
            feeds=[grpc_intel.feed(feed) for feed in found[:size]],
            next_page_token=encode_page_token([found[size - 1].name]) if len(found) > size else "",
            version=self._intel.version(tenant),
        )

    async def DeleteIndicatorFeed(
        self, request: intel_pb2.DeleteIndicatorFeedRequest, _context: Any
    ) -> intel_pb2.DeleteIndicatorFeedResponse:
        """Takes a feed out."""
        version = await self._intel.delete_feed(current_principal().tenant, _id(request.name))
        return intel_pb2.DeleteIndicatorFeedResponse(version=version)

    async def LookupIndicators(
        self, request: intel_pb2.LookupIndicatorsRequest, _context: Any
    ) -> intel_pb2.LookupIndicatorsResponse:
        """What is known of values."""
        answers, version = await self._intel.lookup(current_principal().tenant, request.values)
        return intel_pb2.LookupIndicatorsResponse(matches=grpc_intel.matches(answers), version=version)


async def _in_turns(pack: Callable[[Thing], Message], found: Sequence[Thing]) -> list[Message]:
    """What things are on the wire; a page of many takes longer than a call may wait, so others get their turn."""
    packed: list[Message] = []
    for thing in found:
        packed.append(pack(thing))
        if len(packed) % _STRETCH == 0:
            await asyncio.sleep(0)
    return packed


def _id(name: str) -> str:
    return name.partition("/")[2]


def _position(token: str, query: Sequence[str | int], kind: type) -> Any:
    """What a token continues after, None for the first page."""
    position = decode_page_token(token, query)
    if position is None:
        return None
    if type(position[0]) is not kind or position[0] in (True, False):
        raise InvalidArgumentError.of("page_token", "not a token of this service")
    return position[0]
