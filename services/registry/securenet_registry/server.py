"""The servicer: unpack, call a use-case, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from securenet.registry.v1 import registry_pb2
from securenet.registry.v1.registry_pb2_grpc import ModelRegistryServiceServicer
from securenet_core.authorization import Policy
from securenet_core.principal import ALL_ROLES, Role, current_principal
from securenet_registry.approvals import Approvals
from securenet_registry.auditing import Auditing
from securenet_registry.catalog import Catalog
from securenet_registry.collection import Collection
from securenet_registry.convert import events, models, promotions, trainings, transfers, versions
from securenet_registry.downloads import Downloads
from securenet_registry.model import parse_model, parse_promotion, parse_version
from securenet_registry.promotion import Promotions
from securenet_registry.serving_reports import ServingReports
from securenet_registry.training.trainings import Trainings
from securenet_registry.uploads.uploads import Uploads
from securenet_registry.watching import Watching

DESCRIPTOR = registry_pb2.DESCRIPTOR.services_by_name["ModelRegistryService"]

_PUBLISHERS = frozenset({Role.MODEL_PUBLISHER, Role.ADMIN})
_ADMINS = frozenset({Role.ADMIN})
POLICY = Policy(
    {
        f"{DESCRIPTOR.full_name}/{method}": roles
        for roles, methods in (
            (
                ALL_ROLES,
                (
                    "WatchTraining DownloadModelVersion GetModel ListModels GetModelVersion ListModelVersions "
                    "ListPromotions CompareModelVersions WatchModel ReportServing GetConvergence"
                ),
            ),
            (
                _PUBLISHERS,
                (
                    "TrainModel CancelTraining RegisterModelVersion GetUpload CreateModel DeleteModelVersion "
                    "PromoteModelVersion ApprovePromotion RejectPromotion RollbackModel"
                ),
            ),
            (_ADMINS, "DeleteModel ListAuditEvents VerifyAudit CollectGarbage"),
        )
        for method in methods.split()
    }
)


@dataclass(frozen=True, slots=True)
class UseCases:
    """What the servicer calls."""

    catalog: Catalog
    trainings: Trainings
    uploads: Uploads
    downloads: Downloads
    promotions: Promotions
    approvals: Approvals
    watching: Watching
    serving_reports: ServingReports
    auditing: Auditing
    collection: Collection


class ModelRegistryServicer(ModelRegistryServiceServicer):
    """`securenet.registry.v1.ModelRegistryService`."""

    def __init__(self, use: UseCases) -> None:
        self._use = use

    async def TrainModel(
        self, request: registry_pb2.TrainModelRequest, _context: Any
    ) -> AsyncIterator[registry_pb2.TrainModelResponse]:
        """Store a training, then stream it."""
        spec = trainings.training_spec(request.spec)
        async for step in self._use.trainings.train(current_principal(), spec, request.request_id):
            yield registry_pb2.TrainModelResponse(progress=trainings.progress_message(step))

    async def WatchTraining(
        self, request: registry_pb2.WatchTrainingRequest, _context: Any
    ) -> AsyncIterator[registry_pb2.WatchTrainingResponse]:
        """Stream a training from a step."""
        name = trainings.training_id(request.name)
        async for step in self._use.trainings.watch(current_principal(), name, request.from_seq):
            yield registry_pb2.WatchTrainingResponse(progress=trainings.progress_message(step))

    async def CancelTraining(
        self, request: registry_pb2.CancelTrainingRequest, _context: Any
    ) -> registry_pb2.CancelTrainingResponse:
        """End a training."""
        training = await self._use.trainings.cancel(current_principal(), trainings.training_id(request.name))
        return registry_pb2.CancelTrainingResponse(training=trainings.training_message(training))

    async def RegisterModelVersion(
        self, requests: AsyncIterator[registry_pb2.RegisterModelVersionRequest], _context: Any
    ) -> registry_pb2.RegisterModelVersionResponse:
        """Receive a model, check it, register it."""
        header, chunks = await transfers.upload(requests)
        version = await self._use.uploads.receive(current_principal(), header, chunks)
        return registry_pb2.RegisterModelVersionResponse(model_version=versions.version_message(version))

    async def GetUpload(self, request: registry_pb2.GetUploadRequest, _context: Any) -> registry_pb2.GetUploadResponse:
        """How far an upload is."""
        status = await self._use.uploads.status(current_principal(), request.request_id)
        return registry_pb2.GetUploadResponse(upload=transfers.upload_message(status))

    async def DownloadModelVersion(
        self, request: registry_pb2.DownloadModelVersionRequest, _context: Any
    ) -> AsyncIterator[registry_pb2.DownloadModelVersionResponse]:
        """Manifest and signature, then bytes."""
        reference, flavor = parse_version(request.name), transfers.flavor(request.flavor)
        download = await self._use.downloads.open(current_principal(), reference, flavor, request.offset)
        yield transfers.download_header(download)
        async for offset, data in self._use.downloads.chunks(download, request.offset):
            yield transfers.download_chunk(offset, data)

    async def CreateModel(
        self, request: registry_pb2.CreateModelRequest, _context: Any
    ) -> registry_pb2.CreateModelResponse:
        """Make an empty model."""
        model = await self._use.catalog.create_model(
            current_principal(), parse_model(request.name), request.description, request.tags, request.request_id
        )
        return registry_pb2.CreateModelResponse(model=models.model_message(model))

    async def GetModel(self, request: registry_pb2.GetModelRequest, _context: Any) -> registry_pb2.GetModelResponse:
        """A model."""
        model = await self._use.catalog.model(current_principal(), parse_model(request.name))
        return registry_pb2.GetModelResponse(model=models.model_message(model))

    async def ListModels(
        self, request: registry_pb2.ListModelsRequest, _context: Any
    ) -> registry_pb2.ListModelsResponse:
        """A page of models."""
        after, limit = models.models_page(request)
        return models.models_response(await self._use.catalog.models(current_principal(), after, limit), limit)

    async def DeleteModel(
        self, request: registry_pb2.DeleteModelRequest, _context: Any
    ) -> registry_pb2.DeleteModelResponse:
        """Remove a model with its versions."""
        count = await self._use.catalog.delete_model(
            current_principal(), parse_model(request.name), request.reason, request.request_id
        )
        return registry_pb2.DeleteModelResponse(versions_deleted=count)

    async def GetModelVersion(
        self, request: registry_pb2.GetModelVersionRequest, _context: Any
    ) -> registry_pb2.GetModelVersionResponse:
        """A version."""
        version = await self._use.catalog.version(current_principal(), parse_version(request.name))
        return registry_pb2.GetModelVersionResponse(model_version=versions.version_message(version))

    async def ListModelVersions(
        self, request: registry_pb2.ListModelVersionsRequest, _context: Any
    ) -> registry_pb2.ListModelVersionsResponse:
        """A page of versions."""
        model = parse_model(request.parent, "parent")
        before, limit = versions.versions_page(request)
        found = await self._use.catalog.versions(current_principal(), model, before, limit)
        return versions.versions_response(found, limit, request.parent)

    async def DeleteModelVersion(
        self, request: registry_pb2.DeleteModelVersionRequest, _context: Any
    ) -> registry_pb2.DeleteModelVersionResponse:
        """Remove a version."""
        reference = parse_version(request.name)
        await self._use.catalog.delete_version(current_principal(), reference, request.reason, request.request_id)
        return registry_pb2.DeleteModelVersionResponse()

    async def PromoteModelVersion(
        self, request: registry_pb2.PromoteModelVersionRequest, _context: Any
    ) -> registry_pb2.PromoteModelVersionResponse:
        """Move an alias if every gate passes."""
        promotion = await self._use.promotions.promote(
            current_principal(),
            parse_version(request.name),
            promotions.promote_move(request),
            validate_only=request.validate_only,
            override=request.override_gates,
        )
        return registry_pb2.PromoteModelVersionResponse(promotion=promotions.promotion_message(promotion))

    async def ApprovePromotion(
        self, request: registry_pb2.ApprovePromotionRequest, _context: Any
    ) -> registry_pb2.ApprovePromotionResponse:
        """Commit what somebody else asked for."""
        model, promotion_id = parse_promotion(request.name)
        promotion = await self._use.approvals.approve(current_principal(), model, promotion_id, request.reason)
        return registry_pb2.ApprovePromotionResponse(promotion=promotions.promotion_message(promotion))

    async def RejectPromotion(
        self, request: registry_pb2.RejectPromotionRequest, _context: Any
    ) -> registry_pb2.RejectPromotionResponse:
        """End what was asked for."""
        model, promotion_id = parse_promotion(request.name)
        promotion = await self._use.approvals.reject(current_principal(), model, promotion_id, request.reason)
        return registry_pb2.RejectPromotionResponse(promotion=promotions.promotion_message(promotion))

    async def ListPromotions(
        self, request: registry_pb2.ListPromotionsRequest, _context: Any
    ) -> registry_pb2.ListPromotionsResponse:
        """A page of moves."""
        model = parse_model(request.parent, "parent")
        before_ns, before_id, limit, state = promotions.promotions_page(request)
        found = await self._use.promotions.promotions(current_principal(), model, before_ns, before_id, limit, state)
        return promotions.promotions_response(found, limit, request)

    async def RollbackModel(
        self, request: registry_pb2.RollbackModelRequest, _context: Any
    ) -> registry_pb2.RollbackModelResponse:
        """Point an alias back."""
        promotion = await self._use.promotions.roll_back(
            current_principal(), parse_model(request.name), request.to_version, promotions.rollback_move(request)
        )
        return registry_pb2.RollbackModelResponse(promotion=promotions.promotion_message(promotion))

    async def CompareModelVersions(
        self, request: registry_pb2.CompareModelVersionsRequest, _context: Any
    ) -> registry_pb2.CompareModelVersionsResponse:
        """Metrics side by side."""
        references = [parse_version(name, f"names[{index}]") for index, name in enumerate(request.names)]
        return versions.comparison([await self._use.catalog.version(current_principal(), one) for one in references])

    async def WatchModel(
        self, request: registry_pb2.WatchModelRequest, _context: Any
    ) -> AsyncIterator[registry_pb2.WatchModelResponse]:
        """Snapshot, events, signs of life."""
        model = parse_model(request.name)
        async for update in self._use.watching.watch(current_principal(), model, request.since_revision):
            yield events.watch_response(update)

    async def ReportServing(
        self, request: registry_pb2.ReportServingRequest, _context: Any
    ) -> registry_pb2.ReportServingResponse:
        """Keep a consumer's word."""
        report, drift = events.serving_report(request.report), events.drift_signals(request.report)
        await self._use.serving_reports.report(current_principal(), report, drift)
        return events.interval(self._use.serving_reports.interval)

    async def GetConvergence(
        self, request: registry_pb2.GetConvergenceRequest, _context: Any
    ) -> registry_pb2.GetConvergenceResponse:
        """Whether all follow."""
        model, alias = parse_model(request.name), request.alias or "champion"
        convergence = await self._use.serving_reports.convergence(current_principal(), model, alias)
        return events.convergence_response(convergence)

    async def ListAuditEvents(
        self, request: registry_pb2.ListAuditEventsRequest, _context: Any
    ) -> registry_pb2.ListAuditEventsResponse:
        """A page of the audit log."""
        before, limit = events.audit_page(request)
        entries = await self._use.auditing.entries(current_principal(), before, limit, request.resource)
        return events.audit_response(entries, limit, request.resource)

    async def VerifyAudit(
        self, _request: registry_pb2.VerifyAuditRequest, _context: Any
    ) -> registry_pb2.VerifyAuditResponse:
        """Walk the chain."""
        return events.verdict_response(await self._use.auditing.verify(current_principal()))

    async def CollectGarbage(
        self, request: registry_pb2.CollectGarbageRequest, _context: Any
    ) -> registry_pb2.CollectGarbageResponse:
        """Remove what nothing refers to."""
        garbage = await self._use.collection.collect(
            current_principal(), transfers.grace(request), validate_only=request.validate_only
        )
        return transfers.garbage_response(garbage)
