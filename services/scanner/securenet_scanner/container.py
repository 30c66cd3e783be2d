"""Wiring of the scanner."""

from __future__ import annotations

import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from dependency_injector import providers

from securenet_core.containers import Runtime, ServiceContainer
from securenet_core.health import Probe, Readiness
from securenet_core.hosts import is_loopback
from securenet_core.sqlalchemy_database import Database, sqlite_url
from securenet_scanner.advisories.feeds import Limits
from securenet_scanner.advisories.https_feeds import HttpsFeedSource
from securenet_scanner.advisories.importing import ImportPermissions, KnowledgeImports
from securenet_scanner.advisories.packages import Packages
from securenet_scanner.advisories.sqlite_builder import SqliteKnowledgeBuilder
from securenet_scanner.advisories.sqlite_knowledge import SqliteKnowledgeBase
from securenet_scanner.network.banners import BannerReader, Patience
from securenet_scanner.network.connecting import Pace
from securenet_scanner.network.system_resolver import resolve_by_system
from securenet_scanner.scans.execution import Authority, BannerSource, RunnerLimits, Sources
from securenet_scanner.scans.exposing import ServiceAdvisor
from securenet_scanner.scans.running import ScanRunner
from securenet_scanner.scans.scanning import ScanLimits, Scans
from securenet_scanner.scans.scoping import Scopes, authority_of
from securenet_scanner.scans.sqlalchemy_scans import SqlalchemyScanStore
from securenet_scanner.scans.sqlalchemy_scopes import SqlalchemyScopeStore
from securenet_scanner.scans.stores import ScanStore
from securenet_scanner.server import ScannerServicer
from securenet_scanner.settings import ScannerSettings


@asynccontextmanager
async def _database(settings: ScannerSettings) -> AsyncIterator[Database]:
    url = settings.database_url or sqlite_url(settings.data_dir / "scanner.sqlite")
    database = Database(url, Path(__file__).parent / "migrations")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _knowledge(path: Path) -> AsyncIterator[SqliteKnowledgeBase]:
    base = SqliteKnowledgeBase(path)
    try:
        yield base
    finally:
        base.close()


@asynccontextmanager
async def _packages(base: SqliteKnowledgeBase) -> AsyncIterator[Packages]:
    packages = Packages(base)
    try:
        yield packages
    finally:
        await packages.close()


@asynccontextmanager
async def _runner(
    store: ScanStore, sources: Sources, limits: RunnerLimits, authority: Authority
) -> AsyncIterator[ScanRunner]:
    runner = ScanRunner(store, sources, limits, authority)
    await runner.open()
    try:
        yield runner
    finally:
        await runner.close()


def _knowledge_file(settings: ScannerSettings) -> Path:
    return settings.knowledge_file or settings.data_dir / "knowledge.sqlite"


def _permissions(settings: ScannerSettings) -> ImportPermissions:
    local = settings.tls_certificate is None and is_loopback(settings.host)
    return ImportPermissions(settings.knowledge_roots, any_folder=local)


def _runner_limits(settings: ScannerSettings) -> RunnerLimits:
    # The probes of all scans take at most half of what this process may open: callers need the rest.
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    pace = Pace(
        timeout=settings.probe_timeout,
        retries=settings.probe_retries,
        rate=float(settings.max_rate),
        greatest_window=min(settings.max_window, max(16, files // (2 * settings.max_running_scans))),
    )
    return RunnerLimits(settings.max_running_scans, settings.banner_connections, pace)


def _scan_limits(settings: ScannerSettings) -> ScanLimits:
    return ScanLimits(settings.max_addresses, settings.max_probes, settings.max_pending_scans)


def _feed_source(settings: ScannerSettings) -> HttpsFeedSource:
    return HttpsFeedSource(settings.knowledge_hosts, settings.max_feed_bytes, settings.knowledge_fetch_timeout)


async def _knowledge_readiness(packages: Packages) -> Readiness:
    knowledge = await packages.knowledge()
    if knowledge is None:
        return Readiness(ready=False, detail="nothing imported; MatchPackages answers FAILED_PRECONDITION")
    return Readiness(ready=True, detail=f"{knowledge.version} of {knowledge.data_time}")


def _probes(database: Database, packages: Packages) -> list[object]:
    return [
        Probe("database", database.probe),
        # Scans go on without advisories, so this one is shown and does not decide.
        Probe("knowledge", partial(_knowledge_readiness, packages), required=False),
    ]


class ScannerContainer(ServiceContainer):
    """The scanner's parts."""

    settings = providers.Dependency(instance_of=ScannerSettings)
    runtime = providers.Dependency(instance_of=Runtime)

    database = providers.Resource(_database, settings)
    knowledge_file = providers.Callable(_knowledge_file, settings)
    knowledge = providers.Resource(_knowledge, knowledge_file)
    packages = providers.Resource(_packages, knowledge)

    scan_store = providers.Singleton(SqlalchemyScanStore, database)
    scope_store = providers.Singleton(SqlalchemyScopeStore, database)
    scopes = providers.Singleton(Scopes, scope_store, loopback=settings.provided.loopback_scope)
    patience = providers.Factory(Patience, total=settings.provided.banner_timeout)
    banners: providers.Provider[BannerSource] = providers.Singleton(BannerReader, patience)
    runner = providers.Resource(
        _runner,
        scan_store,
        providers.Singleton(Sources, banners, providers.Singleton(ServiceAdvisor, packages)),
        providers.Callable(_runner_limits, settings),
        providers.Callable(partial, authority_of, scopes),
    )
    resolver = providers.Object(resolve_by_system)
    scans = providers.Singleton(Scans, scan_store, scopes, runner, resolver, providers.Callable(_scan_limits, settings))

    builder = providers.Factory(
        SqliteKnowledgeBuilder,
        knowledge_file,
        providers.Factory(Limits, expanded_bytes=settings.provided.max_feed_bytes),
    )
    imports = providers.Singleton(
        KnowledgeImports,
        knowledge,
        builder,
        providers.Callable(_feed_source, settings),
        providers.Callable(_permissions, settings),
        scan_store,
        draining=runtime.provided.draining,
    )

    servicer = providers.Singleton(ScannerServicer, scans, scopes, packages, imports)
    probes = providers.Callable(_probes, database, packages)
