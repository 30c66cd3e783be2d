"""Wiring of the detection service."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from dependency_injector import providers

from securenet_core.channels import ChannelSettings, open_aio_channel
from securenet_core.containers import Runtime, ServiceContainer
from securenet_core.exceptions import SettingsError
from securenet_core.health import Probe, Readiness
from securenet_core.optional_packages import hidden
from securenet_core.peers import Place, serve_peers
from securenet_core.serving import ServiceDefinition
from securenet_core.sqlalchemy_database import Database, sqlite_url
from securenet_detection.analysis import Analysis
from securenet_detection.engine import Engine
from securenet_detection.findings.ledger import Ledger, Retention
from securenet_detection.findings.sqlalchemy_finding_store import MIGRATIONS, SqlalchemyFindingStore
from securenet_detection.grpc_owners import OwnedServicer, Owners
from securenet_detection.intel.feeds import Limits
from securenet_detection.intel.library import IntelLibrary, LibraryLimits
from securenet_detection.load import Load
from securenet_detection.models import onnx_classifier
from securenet_detection.models.anomaly import ANOMALY
from securenet_detection.models.detector import MODEL
from securenet_detection.models.drift import DriftWatch
from securenet_detection.models.drift_reporting import DriftReporter
from securenet_detection.models.follower import ModelFollower
from securenet_detection.models.grpc_model_source import GrpcModelSource
from securenet_detection.models.interface import Artifact, Promotion
from securenet_detection.models.loading import load_model
from securenet_detection.models.onnx_trees import read_trees
from securenet_detection.models.serving import ModelSlot, ServingModel
from securenet_detection.models.verification import TrustedKey
from securenet_detection.prometheus_metrics import EngineCollector
from securenet_detection.server import DESCRIPTOR, PEER_DESCRIPTOR, PEER_POLICY, POLICY, DetectionServicer
from securenet_detection.settings import DetectionSettings
from securenet_detection.sweeping import lateness, swept
from securenet_flows.features import FEATURES, SCHEMA_HASH

#: Seconds between looks for idle states.
_SWEEP_SECONDS: Final = 30.0

#: Seconds between looks for indicators that another process of the service has imported.
_INTEL_REFRESH_SECONDS: Final = 1.0


async def _open_database(settings: DetectionSettings) -> AsyncIterator[Database]:
    url = settings.database_url or sqlite_url(settings.data_dir / "detection.sqlite")
    database = Database(url, MIGRATIONS)
    await database.open()
    yield database
    await database.close()


async def _open_ledger(settings: DetectionSettings, database: Database) -> AsyncIterator[Ledger]:
    ledger = Ledger(
        SqlalchemyFindingStore(database.engine),
        limit=settings.finding_queue,
        half_life_seconds=settings.risk_half_life_hours * 3600,
        retention=Retention(settings.retention_days, settings.retention_findings, settings.retention_labels),
    )
    async with swept(ledger.sweep, name="findings-sweeper", seconds=_SWEEP_SECONDS):
        yield ledger
    await ledger.close()


async def _open_intel(settings: DetectionSettings) -> AsyncIterator[IntelLibrary]:
    bounds = settings.intel
    limits = LibraryLimits(
        feed=Limits(bounds.max_feed_bytes, bounds.max_json_bytes, bounds.max_indicators),
        feeds=bounds.max_feeds,
        total_indicators=bounds.max_total_indicators,
    )
    library = IntelLibrary(bounds.folder or settings.data_dir / "intel", limits)
    await library.open()
    async with AsyncExitStack() as stack:
        if settings.processes > 1:
            await stack.enter_async_context(
                swept(library.refresh, name="intel-refresher", seconds=_INTEL_REFRESH_SECONDS)
            )
        yield library
    await library.close()


async def _open_engine(
    settings: DetectionSettings, models: ModelSlot, anomalies: ModelSlot, intel: IntelLibrary, drift: DriftWatch
) -> AsyncIterator[Engine]:
    engine = Engine(settings.detectors, models, intel, drift, anomalies)
    # Without a cache the loops compile for seconds; health answers NOT_SERVING meanwhile.
    await asyncio.to_thread(_warm_up, engine)
    async with swept(engine.sweep, name="state-sweeper", seconds=_SWEEP_SECONDS):
        yield engine


def _warm_up(engine: Engine) -> None:
    # The compiler looks for SciPy to multiply matrices with, which no loop here does, and loads all of it.
    with hidden("scipy"):
        engine.warm_up()


async def _watch_load(settings: DetectionSettings) -> AsyncIterator[Load]:
    load = Load(settings.load)
    async with lateness(load.late):
        yield load


async def _follow_registry(
    settings: DetectionSettings, models: ModelSlot, anomalies: ModelSlot, drift: DriftWatch
) -> AsyncIterator[None]:
    if not settings.anomaly_model_name:
        anomalies.explain("anomaly_model_name is empty")
    if settings.registry is None:
        models.explain("no registry is configured")
        anomalies.explain("no registry is configured")
        yield None
        return
    channel_settings = _channel(settings, settings.registry)
    await asyncio.to_thread(onnx_classifier.warm_up)
    async with open_aio_channel(channel_settings) as channel:
        source = partial(
            GrpcModelSource,
            channel,
            channel_settings,
            alias=settings.model_alias,
            folder=settings.data_dir / "models",
            limit=settings.model_max_bytes,
            key=TrustedKey(settings.model_trusted_key),
            consumer=f"detection-{socket.gethostname()[:64]}-{os.getpid()}",
        )
        followed = source(model=settings.model_name)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(_followed(ModelFollower(followed, models, _load), MODEL))
            if settings.anomaly_model_name:
                odd = ModelFollower(source(model=settings.anomaly_model_name), anomalies, partial(_load, kind=ANOMALY))
                await stack.enter_async_context(_followed(odd, ANOMALY))
            reporter = DriftReporter(followed, drift)
            await stack.enter_async_context(swept(reporter.sweep, name="drift-reporter", seconds=_SWEEP_SECONDS))
            yield None


@asynccontextmanager
async def _followed(follower: ModelFollower, name: str) -> AsyncIterator[None]:
    following = asyncio.create_task(follower.run(), name=f"{name}-follower")
    yield None
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


def _load(artifact: Artifact, promotion: Promotion, begun: float, *, kind: str = "probability") -> ServingModel:
    return load_model(
        artifact,
        promotion,
        load=onnx_classifier.load_onnx,
        trees=read_trees,
        schema_hash=SCHEMA_HASH,
        names=[feature.name for feature in FEATURES],
        begun=begun,
        kind=kind,
    )


def _channel(settings: DetectionSettings, address: str) -> ChannelSettings:
    try:
        token = _read(settings.registry_token_file)
        return ChannelSettings(
            address=address,
            ca=settings.registry_ca,
            certificate=settings.registry_certificate,
            key=settings.registry_key,
            token=token,
        )
    except (OSError, ValueError) as error:
        raise SettingsError(f"SECURENET_DETECTION_REGISTRY: {error}") from error


def _read(path: Path | None) -> str | None:
    return None if path is None else path.read_text(encoding="utf-8").strip()


async def _intel_readiness(intel: IntelLibrary) -> Readiness:
    return Readiness(
        ready=not intel.broken, detail="; ".join(intel.broken) or f"intel: {intel.indicators:,} indicators"
    )


async def _model_readiness(what: str, models: ModelSlot) -> Readiness:
    current = models.current
    served = current.reference.name if current else "none"
    return Readiness(
        ready=current is not None, detail=f"{what}: {served}" + (f"; {models.detail}" * bool(models.detail))
    )


def _probes(database: Database, models: ModelSlot, anomalies: ModelSlot, intel: IntelLibrary) -> list[object]:
    return [
        Probe("findings", database.probe),
        # Rules and behaviours work without one, so its absence is shown and does not take the service down.
        Probe("model", partial(_model_readiness, "model", models), required=False),
        Probe("anomaly", partial(_model_readiness, "anomaly model", anomalies), required=False),
        # Likewise a set of indicators that cannot be read.
        Probe("intel", partial(_intel_readiness, intel), required=False),
    ]


async def _export_metrics(  # noqa: PLR0917 - what is measured
    runtime: Runtime,
    analysis: Analysis,
    engine: Engine,
    models: ModelSlot,
    anomalies: ModelSlot,
    ledger: Ledger,
    intel: IntelLibrary,
) -> AsyncIterator[EngineCollector]:
    collector = EngineCollector(analysis, engine, models, anomalies, ledger, intel)
    runtime.registry.register(collector)
    yield collector
    runtime.registry.unregister(collector)


async def _meet_peers(
    settings: DetectionSettings, local: DetectionServicer, place: Place | None
) -> AsyncIterator[DetectionServicer | OwnedServicer]:
    if place is None:
        yield local
        return
    servicers = {DESCRIPTOR: local, PEER_DESCRIPTOR: local}
    owners = Owners(place, batch_limit=settings.batch_limit)
    async with serve_peers(place, PEER_POLICY, servicers, grace=settings.grace):
        yield OwnedServicer(local, owners, stream_window=settings.stream_window)
        await owners.close()


class DetectionContainer(ServiceContainer):
    """Settings and runtime in, servicer and probes out."""

    settings = providers.Dependency(instance_of=DetectionSettings)
    runtime = providers.Dependency(instance_of=Runtime)
    models = providers.Singleton(ModelSlot)
    anomalies = providers.Singleton(ModelSlot)
    database = providers.Resource(_open_database, settings)
    ledger = providers.Resource(_open_ledger, settings, database)
    intel = providers.Resource(_open_intel, settings)
    drift = providers.Singleton(DriftWatch, names=[feature.name for feature in FEATURES])
    engine = providers.Resource(_open_engine, settings, models, anomalies, intel, drift)
    follower = providers.Resource(_follow_registry, settings, models, anomalies, drift)
    load = providers.Resource(_watch_load, settings)
    analysis = providers.Singleton(Analysis, engine, ledger, load, chunk_rows=settings.provided.chunk_rows)
    collector = providers.Resource(_export_metrics, runtime, analysis, engine, models, anomalies, ledger, intel)
    local = providers.Singleton(
        DetectionServicer,
        analysis=analysis,
        engine=engine,
        ledger=ledger,
        models=models,
        anomalies=anomalies,
        intel=intel,
        batch_limit=settings.provided.batch_limit,
        batch_window=settings.provided.batch_window,
        stream_window=settings.provided.stream_window,
    )
    place = providers.Callable(Place.from_environment)
    servicer = providers.Resource(_meet_peers, settings, local, place)
    probes = providers.Factory(_probes, database, models, anomalies, intel)


DEFINITION = ServiceDefinition(name="detection", descriptor=DESCRIPTOR, policy=POLICY, container=DetectionContainer)
