"""Wiring of the registry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from dependency_injector import providers

from securenet_core.containers import Runtime, ServiceContainer
from securenet_core.exceptions import SettingsError
from securenet_core.health import Probe
from securenet_core.hosts import is_loopback
from securenet_core.serving import ServiceDefinition
from securenet_core.sqlalchemy_database import Database, sqlite_url
from securenet_flows.features import SCHEMA_HASH
from securenet_registry.approvals import Approvals
from securenet_registry.artifacts.disk_store import DiskStore
from securenet_registry.artifacts.model_signing_bundler import ModelSigningBundler
from securenet_registry.artifacts.signing import Signer
from securenet_registry.artifacts.store import ArtifactStore
from securenet_registry.auditing import Auditing
from securenet_registry.catalog import Catalog
from securenet_registry.changes import Changes
from securenet_registry.collection import Collection
from securenet_registry.downloads import Downloads
from securenet_registry.gatekeeper import Gatekeeper
from securenet_registry.ledger import Ledger
from securenet_registry.mirror import Mirror
from securenet_registry.mlflow_tracking import MlflowTracking
from securenet_registry.promotion import Promotions
from securenet_registry.quota import Quota
from securenet_registry.registration import Registrar
from securenet_registry.server import DESCRIPTOR, POLICY, ModelRegistryServicer, UseCases
from securenet_registry.serving_reports import ServingReports
from securenet_registry.settings import RegistrySettings
from securenet_registry.sqlalchemy_ledger import SqlalchemyLedger
from securenet_registry.tracking import ModelTracking
from securenet_registry.training.bases import Bases
from securenet_registry.training.dataset import Limits
from securenet_registry.training.execution import TrainingExecution
from securenet_registry.training.process import ProcessWorker, TrainingWorker
from securenet_registry.training.queue import TrainingQueue
from securenet_registry.training.reopening import ProcessReopener, Reopener
from securenet_registry.training.trainings import Trainings
from securenet_registry.uploads.inspection import Inspector, ProcessInspector
from securenet_registry.uploads.uploads import Uploads
from securenet_registry.watching import Watching


@asynccontextmanager
async def _database(settings: RegistrySettings) -> AsyncIterator[Database]:
    url = settings.database_url or sqlite_url(settings.data_dir / "registry.sqlite")
    database = Database(url, Path(__file__).parent / "migrations")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _mirror(  # noqa: PLR0917 - the container hands them in
    ledger: Ledger, artifacts: ArtifactStore, signer: Signer, tracking: ModelTracking, changes: Changes, seconds: float
) -> AsyncIterator[Mirror]:
    mirror = Mirror(ledger, artifacts, signer, tracking, changes=changes, seconds=seconds)
    mirror.start()
    try:
        yield mirror
    finally:
        await mirror.stop()


@asynccontextmanager
async def _training_queue(  # noqa: PLR0917 - likewise
    settings: RegistrySettings,
    ledger: Ledger,
    registrar: Registrar,
    worker: TrainingWorker,
    mirror: Mirror,
    changes: Changes,
    bases: Bases,
) -> AsyncIterator[TrainingQueue]:
    execution = TrainingExecution(
        ledger=ledger,
        registrar=registrar,
        worker=worker,
        mirror=mirror,
        changes=changes,
        folder=settings.data_dir / "trainings",
        limits=_limits(settings),
        bases=bases,
    )
    queue = TrainingQueue(ledger, execution, changes)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.stop()


def _limits(settings: RegistrySettings) -> Limits:
    local = settings.tls_certificate is None and is_loopback(settings.host)
    return Limits(settings.max_training_rows, settings.max_training_bytes, settings.data_roots, any_folder=local)


def _artifacts(settings: RegistrySettings) -> DiskStore:
    return DiskStore(settings.model_storage_path or settings.data_dir / "artifacts")


def _signer(settings: RegistrySettings) -> Signer:
    key = settings.signing_key or settings.data_dir / "keys" / "signing.pem"
    try:
        return Signer(key, key.with_name(f"{key.stem}.pub.pem"))
    except (OSError, TypeError, ValueError) as error:
        raise SettingsError(f"signing_key {key}: {error}") from error


def _bundler(settings: RegistrySettings) -> ModelSigningBundler | None:
    return ModelSigningBundler(settings.data_dir / "signing") if settings.model_signing_bundle else None


def _tracking(settings: RegistrySettings) -> MlflowTracking:
    uri = settings.mlflow_tracking_uri or sqlite_url(settings.data_dir.absolute() / "mlflow.sqlite")
    return MlflowTracking(uri, settings.data_dir.absolute() / "mlflow-artifacts", settings.mlflow_experiment_name)


def _quota(settings: RegistrySettings) -> Quota:
    return Quota(settings.tenant_quota_bytes)


def _uploads(settings: RegistrySettings, ledger: Ledger, registrar: Registrar, inspector: Inspector) -> Uploads:
    uploads = Uploads(
        ledger,
        registrar,
        inspector,
        settings.data_dir / "uploads",
        limit=settings.max_upload_bytes,
        expiry=settings.upload_expiry,
        quota=_quota(settings),
    )
    uploads.forget_checks()
    uploads.forget_expired()
    return uploads


def _probes(database: Database, artifacts: DiskStore, mirror: Mirror) -> list[object]:
    return [
        Probe("database", database.probe),
        Probe("artifacts", artifacts.readiness),
        # What serves goes on without MLflow, so this one is shown and does not decide.
        Probe("mlflow", mirror.probe, required=False),
    ]


class RegistryContainer(ServiceContainer):
    """The registry's parts."""

    settings = providers.Dependency(instance_of=RegistrySettings)
    runtime = providers.Dependency(instance_of=Runtime)

    database = providers.Resource(_database, settings)
    ledger = providers.Singleton(SqlalchemyLedger, database)
    artifacts = providers.Singleton(_artifacts, settings)
    signer = providers.Singleton(_signer, settings)
    bundler = providers.Singleton(_bundler, settings)
    changes = providers.Singleton(Changes)
    tracking = providers.Singleton(_tracking, settings)

    registrar = providers.Singleton(
        Registrar, ledger, artifacts, signer, bundler, changes, quota=providers.Callable(_quota, settings)
    )
    mirror = providers.Resource(
        _mirror, ledger, artifacts, signer, tracking, changes, settings.provided.mirror_interval
    )
    worker: providers.Provider[TrainingWorker] = providers.Singleton(
        ProcessWorker, seconds=settings.provided.training_timeout
    )
    bases = providers.Singleton(Bases, artifacts, signer)
    training_queue = providers.Resource(_training_queue, settings, ledger, registrar, worker, mirror, changes, bases)
    trainings = providers.Singleton(Trainings, ledger, training_queue, changes, runtime.provided.draining)
    inspector: providers.Provider[Inspector] = providers.Singleton(
        ProcessInspector, settings.provided.inspection_timeout, settings.provided.inspection_memory
    )

    reopener: providers.Provider[Reopener] = providers.Singleton(ProcessReopener, settings.provided.inspection_timeout)

    gatekeeper = providers.Singleton(Gatekeeper, artifacts, signer, SCHEMA_HASH, reopener)
    uploads = providers.Singleton(_uploads, settings, ledger, registrar, inspector)
    use_cases = providers.Singleton(
        UseCases,
        catalog=providers.Singleton(Catalog, ledger, artifacts, changes),
        trainings=trainings,
        uploads=uploads,
        downloads=providers.Singleton(Downloads, ledger, artifacts, signer),
        promotions=providers.Singleton(Promotions, ledger, gatekeeper, changes, settings.provided.promotion_policies),
        approvals=providers.Singleton(Approvals, ledger, gatekeeper, changes),
        watching=providers.Singleton(Watching, ledger, changes, settings.provided.heartbeat),
        serving_reports=providers.Singleton(ServingReports, ledger, changes, settings.provided.report_interval),
        auditing=providers.Singleton(Auditing, ledger),
        collection=providers.Singleton(Collection, ledger, artifacts, uploads, grace=settings.provided.garbage_grace),
    )
    servicer = providers.Singleton(ModelRegistryServicer, use_cases)
    probes = providers.Callable(_probes, database, artifacts, mirror)


#: What makes a process the registry.
DEFINITION = ServiceDefinition("registry", DESCRIPTOR, POLICY, RegistryContainer)
