"""The asyncio client of the model registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from securenet.registry.v1 import registry_pb2 as pb
from securenet.registry.v1 import registry_pb2_grpc
from securenet_client.connection import AsyncClient, ConnectionSettings
from securenet_client.messages import read
from securenet_client.registry import requests
from securenet_client.registry.downloads import DownloadFile
from securenet_client.registry.records import (
    AuditEvent,
    AuditVerification,
    CollectedGarbage,
    Convergence,
    DownloadHeader,
    Model,
    ModelComparison,
    ModelUpdate,
    ModelVersion,
    Promotion,
    Training,
    TrainingProgress,
    Upload,
)


class AsyncRegistryClient(AsyncClient):
    """Asks the model registry. Every method may raise :class:`securenet_core.exceptions.SecurenetError`."""

    service = "registry"

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        super().__init__(address, settings)
        self._stub = registry_pb2_grpc.ModelRegistryServiceStub(self._call.channel)

    async def train_model(
        self,
        model: str,
        data: Sequence[str | Path],
        *,
        estimator: str | None = None,
        params: Mapping[str, Any] | None = None,
        split: str | None = None,
        held_out_fraction: float = 0.0,
        seed: int = 0,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        base_version: int | str = "",
        request_id: str = "",
    ) -> AsyncIterator[TrainingProgress]:
        """Trains, evaluates and registers a version; yields each step. The training goes on when the caller leaves.

        Args:
            model: name; made if it is not there.
            data: labelled flow logs on the registry's machine; each is one capture.
            estimator: hist-gradient-boosting (default), random-forest, isolation-forest.
            params: of the estimator, by scikit-learn's names.
            split: capture or time; by capture where there are several by default.
            held_out_fraction: part set apart for evaluation; 0 is the registry's default.
            seed: of everything random.
            tags: free labels of the version.
            description: why.
            base_version: version to adapt to a site's flows, which need no labels, instead of training a new one.
            request_id: a repeated call with the same key joins the first one's training.
        """
        request = requests.train_model(
            model, data, estimator=estimator, params=params, split=split, held_out_fraction=held_out_fraction,
            seed=seed, tags=tags, description=description, base_version=base_version, request_id=request_id,
        )  # fmt: skip
        async for response in self._call.stream(self._stub.TrainModel, request):
            yield read(TrainingProgress, response.progress)

    async def watch_training(self, training: str, *, from_seq: int = 0) -> AsyncIterator[TrainingProgress]:
        """A training's steps, from a step on."""
        request = pb.WatchTrainingRequest(name=requests.training_name(training), from_seq=from_seq)
        async for response in self._call.stream(self._stub.WatchTraining, request):
            yield read(TrainingProgress, response.progress)

    async def cancel_training(self, training: str) -> Training:
        """Ends a training."""
        request = pb.CancelTrainingRequest(name=requests.training_name(training))
        return read(Training, (await self._call.unary(self._stub.CancelTraining, request)).training)

    async def register_model_version(
        self,
        model: str,
        path: str | Path,
        *,
        format: str,  # noqa: A002 - what the contract calls it
        feature_schema_hash: str = "",
        tags: Mapping[str, str] | None = None,
        description: str = "",
        request_id: str = "",
    ) -> ModelVersion:
        """Uploads a model file. `format`: skops or onnx. The file's digest is the request id unless one is given."""
        parts = requests.upload(
            model, Path(path), format_=format, feature_schema_hash=feature_schema_hash, tags=tags,
            description=description, request_id=request_id,
        )  # fmt: skip
        return read(
            ModelVersion, (await self._call.upload(self._stub.RegisterModelVersion, _asynchronous(parts))).model_version
        )

    async def get_upload(self, request_id: str) -> Upload:
        """An upload by its key, to learn how much of it has been stored."""
        request = pb.GetUploadRequest(request_id=request_id)
        return read(Upload, (await self._call.unary(self._stub.GetUpload, request)).upload)

    async def download_model_version(
        self, model: str, version: int | str, path: str | Path, *, flavor: str = "source"
    ) -> DownloadHeader:
        """Writes a version's file after checking its digest.

        Args:
            model: its name.
            version: number, alias or sha256:digest.
            path: what to write; replaced only when everything came.
            flavor: source; onnx, which is served; or joblib, which only who trusts the registry may open.
        """
        request = requests.download(model, version, flavor)
        with DownloadFile(Path(path)) as file:
            async for response in self._call.stream(self._stub.DownloadModelVersion, request):
                file.take(response)
            return file.finish()

    async def create_model(self, model: str, *, description: str = "", tags: Mapping[str, str] | None = None) -> Model:
        """Makes an empty model."""
        request = pb.CreateModelRequest(name=requests.model_name(model), description=description, tags=dict(tags or {}))
        return read(Model, (await self._call.unary(self._stub.CreateModel, request)).model)

    async def get_model(self, model: str) -> Model:
        """A model with its aliases."""
        request = pb.GetModelRequest(name=requests.model_name(model))
        return read(Model, (await self._call.unary(self._stub.GetModel, request)).model)

    async def list_models(self, *, page_size: int = 100) -> AsyncIterator[Model]:
        """Models by name."""
        request = pb.ListModelsRequest(page_size=page_size)
        async for model in self._call.pages(self._stub.ListModels, request, "models"):
            yield read(Model, model)

    async def get_model_version(self, model: str, version: int | str) -> ModelVersion:
        """A version by number, alias or digest."""
        request = pb.GetModelVersionRequest(name=requests.version_name(model, version))
        return read(ModelVersion, (await self._call.unary(self._stub.GetModelVersion, request)).model_version)

    async def list_model_versions(self, model: str, *, page_size: int = 100) -> AsyncIterator[ModelVersion]:
        """A model's versions, the latest first."""
        request = pb.ListModelVersionsRequest(parent=requests.model_name(model), page_size=page_size)
        async for version in self._call.pages(self._stub.ListModelVersions, request, "model_versions"):
            yield read(ModelVersion, version)

    async def delete_model(self, model: str, *, reason: str = "", request_id: str = "") -> int:
        """Removes a model; answers how many versions went with it. Refused while an alias points at one."""
        request = pb.DeleteModelRequest(name=requests.model_name(model), reason=reason, request_id=request_id)
        return int((await self._call.unary(self._stub.DeleteModel, request)).versions_deleted)

    async def delete_model_version(self, model: str, version: int, *, reason: str = "", request_id: str = "") -> None:
        """Removes a version; refused while an alias or a rollback needs it."""
        name = requests.version_name(model, version)
        request = pb.DeleteModelVersionRequest(name=name, reason=reason, request_id=request_id)
        await self._call.unary(self._stub.DeleteModelVersion, request)

    async def compare_model_versions(self, model: str, versions: Sequence[int | str]) -> ModelComparison:
        """From 2 to 16 versions of a model side by side, by number, alias or digest."""
        names = [requests.version_name(model, version) for version in versions]
        request = pb.CompareModelVersionsRequest(names=names)
        return read(ModelComparison, await self._call.unary(self._stub.CompareModelVersions, request))

    async def watch_model(self, model: str, *, since_revision: int = 0) -> AsyncIterator[ModelUpdate]:
        """A model as it is and each change of it, with a sign of life every 15 seconds of silence; it need not exist.

        `since_revision` goes on after the update that bore it.
        """
        request = pb.WatchModelRequest(name=requests.model_name(model), since_revision=since_revision)
        async for response in self._call.stream(self._stub.WatchModel, request):
            yield read(ModelUpdate, response)

    async def get_convergence(self, model: str, *, alias: str = "champion") -> Convergence:
        """Whether all who follow an alias serve the version that it points at."""
        request = pb.GetConvergenceRequest(name=requests.model_name(model), alias=alias)
        return read(Convergence, await self._call.unary(self._stub.GetConvergence, request))

    async def promote_model_version(
        self,
        model: str,
        version: int | str,
        *,
        alias: str = "champion",
        expected_generation: int | None = None,
        reason: str = "",
        request_id: str = "",
        validate_only: bool = False,
        override_gates: bool = False,
    ) -> Promotion:
        """Moves an alias if every gate passes; FailedPreconditionError names those that do not."""
        request = requests.promote(
            model, version, alias=alias, expected_generation=expected_generation, reason=reason, request_id=request_id,
            validate_only=validate_only, override_gates=override_gates,
        )  # fmt: skip
        return read(Promotion, (await self._call.unary(self._stub.PromoteModelVersion, request)).promotion)

    async def rollback_model(
        self, model: str, *, alias: str = "champion", to_version: int = 0, reason: str = "", request_id: str = ""
    ) -> Promotion:
        """Points an alias back: at the version before it, or at the one given."""
        request = pb.RollbackModelRequest(
            name=requests.model_name(model), alias=alias, to_version=to_version, reason=reason, request_id=request_id
        )
        return read(Promotion, (await self._call.unary(self._stub.RollbackModel, request)).promotion)

    async def approve_promotion(self, name: str, *, reason: str = "") -> Promotion:
        """Commits a promotion that waits, models/{model}/promotions/{promotion}; not for who asked for it."""
        request = pb.ApprovePromotionRequest(name=name, reason=reason)
        return read(Promotion, (await self._call.unary(self._stub.ApprovePromotion, request)).promotion)

    async def reject_promotion(self, name: str, *, reason: str = "") -> Promotion:
        """Ends a promotion that waits; who asked for it may take it back."""
        request = pb.RejectPromotionRequest(name=name, reason=reason)
        return read(Promotion, (await self._call.unary(self._stub.RejectPromotion, request)).promotion)

    async def list_promotions(self, model: str, *, state: str = "", page_size: int = 100) -> AsyncIterator[Promotion]:
        """A model's promotions, the latest first. `state`: pending, committed or rejected; any if empty."""
        request = requests.list_promotions(model, state, page_size)
        async for promotion in self._call.pages(self._stub.ListPromotions, request, "promotions"):
            yield read(Promotion, promotion)

    async def list_audit_events(self, *, resource: str = "", page_size: int = 100) -> AsyncIterator[AuditEvent]:
        """Who did what, the latest first."""
        request = pb.ListAuditEventsRequest(resource=resource, page_size=page_size)
        async for event in self._call.pages(self._stub.ListAuditEvents, request, "audit_events"):
            yield read(AuditEvent, event)

    async def verify_audit(self) -> AuditVerification:
        """Walks along the hashes of the audit log; `valid` says whether the chain holds."""
        return read(AuditVerification, await self._call.unary(self._stub.VerifyAudit, pb.VerifyAuditRequest()))

    async def collect_garbage(self, *, grace: float | None = None, validate_only: bool = False) -> CollectedGarbage:
        """Removes bytes that no version refers to and that are older than `grace` seconds, or says what would go."""
        request = requests.collect_garbage(grace, validate_only=validate_only)
        return read(CollectedGarbage, (await self._call.unary(self._stub.CollectGarbage, request)).garbage)


async def _asynchronous(parts: Iterator[Any]) -> AsyncIterator[Any]:
    for part in parts:
        yield part
