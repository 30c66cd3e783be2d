"""The servicer: unpack, call a use-case, pack."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from securenet.scanner.v1 import scanner_pb2
from securenet.scanner.v1.scanner_pb2_grpc import ScannerServiceServicer
from securenet_core.authorization import Policy
from securenet_core.exceptions import UnimplementedError
from securenet_core.pagination import page_size
from securenet_core.principal import ALL_ROLES, Role, current_principal
from securenet_scanner import convert
from securenet_scanner.advisories.importing import KnowledgeImports
from securenet_scanner.advisories.packages import Packages
from securenet_scanner.scans.scanning import Scans
from securenet_scanner.scans.scoping import Scopes

DESCRIPTOR = scanner_pb2.DESCRIPTOR.services_by_name["ScannerService"]

_OPERATORS = frozenset({Role.SCANNER_OPERATOR, Role.ADMIN})
_ADMINS = frozenset({Role.ADMIN})
POLICY = Policy(
    {
        f"{DESCRIPTOR.full_name}/{method}": roles
        for roles, methods in (
            (
                ALL_ROLES,
                (
                    "GetScan ListScans WatchScan ScanInventory MatchPackages ExportReport GetKnowledge GetExposure "
                    "ListScopes"
                ),
            ),
            (_OPERATORS, "StartScan CancelScan DeleteScan UpdateKnowledge"),
            (_ADMINS, "CreateScope DeleteScope"),
        )
        for method in methods.split()
    }
)


class ScannerServicer(ScannerServiceServicer):
    """`securenet.scanner.v1.ScannerService`."""

    def __init__(self, scans: Scans, scopes: Scopes, packages: Packages, imports: KnowledgeImports) -> None:
        self._scans = scans
        self._scopes = scopes
        self._packages = packages
        self._imports = imports

    async def StartScan(self, request: scanner_pb2.StartScanRequest, _context: Any) -> scanner_pb2.StartScanResponse:
        """Store a scan and queue it."""
        spec = convert.scan_spec(request.spec)
        scan = await self._scans.start(
            current_principal(), spec, request.request_id, validate_only=request.validate_only
        )
        return scanner_pb2.StartScanResponse(scan=convert.scan_message(scan))

    async def GetScan(self, request: scanner_pb2.GetScanRequest, _context: Any) -> scanner_pb2.GetScanResponse:
        """A scan with its hosts."""
        scan = await self._scans.get(current_principal(), convert.identifier(request.name))
        return scanner_pb2.GetScanResponse(scan=convert.scan_message(scan))

    async def ListScans(self, request: scanner_pb2.ListScansRequest, _context: Any) -> scanner_pb2.ListScansResponse:
        """A page of scans, the latest first."""
        page = convert.page(request.page_token, page_size(request.page_size), request.state)
        scans = await self._scans.page(current_principal(), convert.scan_state(request.state), page)
        return convert.scans_response(scans, page, request.state)

    async def CancelScan(self, request: scanner_pb2.CancelScanRequest, _context: Any) -> scanner_pb2.CancelScanResponse:
        """End a scan and keep what it found."""
        scan = await self._scans.cancel(current_principal(), convert.identifier(request.name))
        return scanner_pb2.CancelScanResponse(scan=convert.scan_message(scan))

    async def DeleteScan(self, request: scanner_pb2.DeleteScanRequest, _context: Any) -> scanner_pb2.DeleteScanResponse:
        """Remove a scan that has ended."""
        await self._scans.delete(current_principal(), convert.identifier(request.name))
        return scanner_pb2.DeleteScanResponse()

    async def WatchScan(
        self, request: scanner_pb2.WatchScanRequest, _context: Any
    ) -> AsyncIterator[scanner_pb2.WatchScanResponse]:
        """What happened and what happens, until the scan ends."""
        scan_id = convert.identifier(request.name)
        async for event in self._scans.watch(current_principal(), scan_id, request.from_sequence):
            yield convert.watch_response(request.name, event)

    async def ScanInventory(
        self, _requests: AsyncIterator[scanner_pb2.ScanInventoryRequest], _context: Any
    ) -> scanner_pb2.ScanInventoryResponse:
        """Not in this build."""
        raise UnimplementedError(
            "inventories are not read yet; send package URLs to MatchPackages", reason="INVENTORIES_NOT_READ"
        )

    async def MatchPackages(
        self, request: scanner_pb2.MatchPackagesRequest, _context: Any
    ) -> scanner_pb2.MatchPackagesResponse:
        """What is known of packages."""
        matches, knowledge = await self._packages.match(request.purls)
        return convert.match_response(matches, knowledge)

    async def ExportReport(
        self, _request: scanner_pb2.ExportReportRequest, _context: Any
    ) -> AsyncIterator[scanner_pb2.ExportReportResponse]:
        """Not in this build."""
        raise UnimplementedError(
            "reports are not rendered yet; read the scan with GetScan", reason="REPORTS_NOT_RENDERED"
        )
        yield scanner_pb2.ExportReportResponse()  # makes this a generator

    async def UpdateKnowledge(
        self, request: scanner_pb2.UpdateKnowledgeRequest, _context: Any
    ) -> AsyncIterator[scanner_pb2.UpdateKnowledgeResponse]:
        """Import feeds, with progress."""
        steps = self._imports.run(
            current_principal(), request.directory, tuple(request.urls), validate_only=request.validate_only
        )
        async for step in steps:
            yield convert.import_response(step)

    async def GetKnowledge(
        self, _request: scanner_pb2.GetKnowledgeRequest, _context: Any
    ) -> scanner_pb2.GetKnowledgeResponse:
        """Which feeds are there."""
        return convert.knowledge_response(await self._packages.knowledge())

    async def GetExposure(
        self, request: scanner_pb2.GetExposureRequest, _context: Any
    ) -> scanner_pb2.GetExposureResponse:
        """What scans know of a host."""
        exposure = await self._scans.exposure(current_principal(), request.address)
        return scanner_pb2.GetExposureResponse(exposure=convert.exposure_message(exposure))

    async def CreateScope(
        self, request: scanner_pb2.CreateScopeRequest, _context: Any
    ) -> scanner_pb2.CreateScopeResponse:
        """Allow a tenant to scan networks until a time."""
        scope = await self._scopes.create(current_principal(), convert.scope(request.scope), request.request_id)
        return scanner_pb2.CreateScopeResponse(scope=convert.scope_message(scope))

    async def ListScopes(self, request: scanner_pb2.ListScopesRequest, _context: Any) -> scanner_pb2.ListScopesResponse:
        """A page of scopes that hold now."""
        page = convert.page(request.page_token, page_size(request.page_size))
        return convert.scopes_response(await self._scopes.page(current_principal(), page), page)

    async def DeleteScope(
        self, request: scanner_pb2.DeleteScopeRequest, _context: Any
    ) -> scanner_pb2.DeleteScopeResponse:
        """End a scope, and the scans that rest on it."""
        await self._scopes.delete(current_principal(), convert.identifier(request.name))
        cancelled = await self._scans.cancel_resting_on(current_principal(), request.name)
        return scanner_pb2.DeleteScopeResponse(scans_cancelled=cancelled)
