"""The asyncio client of the scanner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

from securenet.scanner.v1 import scanner_pb2 as pb
from securenet.scanner.v1 import scanner_pb2_grpc
from securenet_client.connection import AsyncClient, ConnectionSettings
from securenet_client.messages import read
from securenet_client.scanner import requests
from securenet_client.scanner.records import (
    Exposure,
    Knowledge,
    KnowledgeProgress,
    PackageMatches,
    Scan,
    ScanEvent,
    Scope,
)


class AsyncScannerClient(AsyncClient):
    """Asks the scanner. Every method may raise :class:`securenet_core.exceptions.SecurenetError`."""

    service = "scanner"

    def __init__(self, address: str | None = None, settings: ConnectionSettings | None = None) -> None:
        super().__init__(address, settings)
        self._stub = scanner_pb2_grpc.ScannerServiceStub(self._call.channel)

    async def start_scan(
        self,
        targets: Sequence[str],
        *,
        ports: str = "",
        max_rate: int = 0,
        probe_timeout: float | None = None,
        retries: int | None = None,
        skip_banners: bool = False,
        description: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Scan:
        """Queues a scan and answers it as stored.

        Args:
            targets: CIDRs, ranges, addresses, host names.
            ports: numbers and ranges, or a profile: top-100, top-1000, all; top-100 if empty.
            max_rate: new connections a second; 0 is the service's limit.
            probe_timeout: seconds to wait for one answer.
            retries: further tries for a probe without an answer.
            skip_banners: only find open ports.
            description: stands in the audit log.
            request_id: a repeated call with the same key answers the first one's scan.
            validate_only: check targets and scopes, start nothing.
        """
        request = requests.start_scan(
            targets, ports=ports, max_rate=max_rate, probe_timeout=probe_timeout, retries=retries,
            skip_banners=skip_banners, description=description, request_id=request_id, validate_only=validate_only,
        )  # fmt: skip
        return read(Scan, (await self._call.unary(self._stub.StartScan, request)).scan)

    async def get_scan(self, scan: str) -> Scan:
        """A scan with its hosts, by id or resource name."""
        request = pb.GetScanRequest(name=requests.name("scans", scan))
        return read(Scan, (await self._call.unary(self._stub.GetScan, request)).scan)

    async def list_scans(self, *, page_size: int = 100) -> AsyncIterator[Scan]:
        """Scans, the latest first, without their hosts."""
        request = pb.ListScansRequest(page_size=page_size)
        async for scan in self._call.pages(self._stub.ListScans, request, "scans"):
            yield read(Scan, scan)

    async def watch_scan(self, scan: str, *, from_sequence: int = 0) -> AsyncIterator[ScanEvent]:
        """What a scan does, from its beginning or from a sequence; ends when the scan does."""
        request = pb.WatchScanRequest(name=requests.name("scans", scan), from_sequence=from_sequence)
        async for response in self._call.stream(self._stub.WatchScan, request):
            yield read(ScanEvent, response)

    async def cancel_scan(self, scan: str) -> Scan:
        """Ends a scan and keeps what it found."""
        request = pb.CancelScanRequest(name=requests.name("scans", scan))
        return read(Scan, (await self._call.unary(self._stub.CancelScan, request)).scan)

    async def delete_scan(self, scan: str) -> None:
        """Removes a scan that has ended."""
        await self._call.unary(self._stub.DeleteScan, pb.DeleteScanRequest(name=requests.name("scans", scan)))

    async def match_packages(self, purls: Sequence[str]) -> PackageMatches:
        """What is known of up to 1,000 package URLs, in their order."""
        return read(
            PackageMatches, await self._call.unary(self._stub.MatchPackages, pb.MatchPackagesRequest(purls=purls))
        )

    async def update_knowledge(
        self, directory: str | Path, *, validate_only: bool = False
    ) -> AsyncIterator[KnowledgeProgress]:
        """Imports the feeds of a folder on the scanner's machine; the last step carries the knowledge."""
        request = pb.UpdateKnowledgeRequest(directory=str(directory), validate_only=validate_only)
        async for response in self._call.stream(self._stub.UpdateKnowledge, request):
            yield read(KnowledgeProgress, response)

    async def get_knowledge(self) -> Knowledge | None:
        """What the knowledge base holds; None where nothing has been imported."""
        response = await self._call.unary(self._stub.GetKnowledge, pb.GetKnowledgeRequest())
        return read(Knowledge, response.knowledge) if response.HasField("knowledge") else None

    async def get_exposure(self, address: str) -> Exposure:
        """What scans know of a host."""
        request = pb.GetExposureRequest(address=address)
        return read(Exposure, (await self._call.unary(self._stub.GetExposure, request)).exposure)

    async def create_scope(
        self, cidrs: Sequence[str], *, authorized_by: str, reason: str, expires: datetime, request_id: str = ""
    ) -> Scope:
        """Allows networks to be scanned until `expires`."""
        request = requests.create_scope(cidrs, authorized_by, reason, expires, request_id)
        return read(Scope, (await self._call.unary(self._stub.CreateScope, request)).scope)

    async def list_scopes(self, *, page_size: int = 100) -> AsyncIterator[Scope]:
        """Scopes that have not expired."""
        request = pb.ListScopesRequest(page_size=page_size)
        async for scope in self._call.pages(self._stub.ListScopes, request, "scopes"):
            yield read(Scope, scope)

    async def delete_scope(self, scope: str) -> int:
        """Ends a scope; answers how many scans were cancelled."""
        request = pb.DeleteScopeRequest(name=requests.name("scopes", scope))
        return int((await self._call.unary(self._stub.DeleteScope, request)).scans_cancelled)
