"""What callers may do with scans. Permission comes first, and everything is told to the audit log."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from securenet_core.exceptions import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
)
from securenet_core.principal import Principal
from securenet_scanner.network import scopes
from securenet_scanner.network.ports import PortProfile, PortsError, parse_ports, profile_ports
from securenet_scanner.network.scopes import OutOfScopeError
from securenet_scanner.network.targets import Resolver, TargetError, resolve, unmapped
from securenet_scanner.scans.requests import audit_entry, new_id, refuse_zero_bytes, to_its_end
from securenet_scanner.scans.running import ScanRunner
from securenet_scanner.scans.scan import (
    AuditEntry,
    Event,
    Exposure,
    Plan,
    Progress,
    Scan,
    ScanSpec,
    ScanState,
    StateChange,
)
from securenet_scanner.scans.scoping import Scopes
from securenet_scanner.scans.stores import Page, QueueFullError, ScanStore

_EVENTS_AT_ONCE = 500
_PROGRESS_EVERY = 1.0
_GREATEST_SEQUENCE = (1 << 63) - 1
"""What a database can count to; callers may ask for more."""


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """What one scan, and all together, may ask for."""

    max_addresses: int = 65_536
    max_probes: int = 16_777_216
    max_pending: int = 100


class Scans:
    """The tenants' scans."""

    def __init__(
        self, store: ScanStore, scopes: Scopes, runner: ScanRunner, resolver: Resolver, limits: ScanLimits
    ) -> None:
        self._store = store
        self._scopes = scopes
        self._runner = runner
        self._resolver = resolver
        self._limits = limits

    async def start(self, principal: Principal, spec: ScanSpec, request_id: str, *, validate_only: bool) -> Scan:
        """Check targets and scopes, keep the scan, queue it.

        Raises `InvalidArgumentError`, `PermissionDeniedError` where an address is in no scope, and
        `ResourceExhaustedError` where too many scans wait.
        """
        refuse_zero_bytes({"spec.description": spec.description, "request_id": request_id})
        plan = await self._plan(spec)
        allowed, authority = await self._authorize(principal, spec, plan)
        scan = Scan(
            id=new_id(),
            tenant=principal.tenant,
            spec=spec,
            plan=plan,
            state=ScanState.PENDING,
            progress=Progress(probes_total=plan.probes),
            created_by=principal.subject,
            create_time=datetime.now(UTC),
            scopes=allowed,
        )
        if validate_only:
            return scan
        entry = audit_entry(principal, "scan.start", scan.name, authority, _detail(spec, plan))
        # Once stored it must be queued, also where the caller has gone in between.
        return await to_its_end(self._keep(scan, request_id, entry))

    async def _keep(self, scan: Scan, request_id: str, entry: AuditEntry) -> Scan:
        try:
            stored, new = await self._store.create(scan, request_id, entry, self._limits.max_pending)
        except QueueFullError as error:
            raise ResourceExhaustedError(
                f"{error}; at most {self._limits.max_pending} may wait", reason="SCAN_QUEUE_FULL", retry_after=5.0
            ) from error
        if new:
            self._runner.submit(stored)
        return stored

    async def get(self, principal: Principal, scan_id: str) -> Scan:
        """A scan with its hosts. Raises `NotFoundError`."""
        return self._fresh(_present(await self._store.get(principal.tenant, scan_id), scan_id))

    async def page(self, principal: Principal, state: ScanState | None, page: Page) -> list[Scan]:
        """One page, the latest first, without hosts."""
        return [self._fresh(scan) for scan in await self._store.page(principal.tenant, state, page)]

    async def cancel(self, principal: Principal, scan_id: str) -> Scan:
        """End a scan within a second; one that has ended stays as it is. Raises `NotFoundError`."""
        scan = _present(await self._store.head(principal.tenant, scan_id), scan_id)
        if not scan.state.ended:
            await self._store.audit(audit_entry(principal, "scan.cancel", scan.name, scan.scopes, ""))
            await to_its_end(self._runner.cancel(scan_id))
        return await self.get(principal, scan_id)

    async def cancel_resting_on(self, principal: Principal, scope_name: str) -> int:
        """End every scan of the tenant that a scope allowed; answers how many."""
        resting = [scan for scan in await self._store.unfinished(principal.tenant) if scope_name in scan.scopes]
        for scan in resting:
            await self.cancel(principal, scan.id)
        return len(resting)

    async def delete(self, principal: Principal, scan_id: str) -> None:
        """Remove a scan that has ended. Raises `NotFoundError`, and `FailedPreconditionError` while it runs."""
        scan = _present(await self._store.head(principal.tenant, scan_id), scan_id)
        if not scan.state.ended:
            raise FailedPreconditionError(
                f"{scan.name} is {scan.state.value}; cancel it first", reason="SCAN_NOT_ENDED"
            )
        entry = audit_entry(principal, "scan.delete", scan.name, scan.scopes, _detail(scan.spec, scan.plan))
        await self._store.delete(principal.tenant, scan_id, entry)

    async def watch(self, principal: Principal, scan_id: str, from_sequence: int) -> AsyncIterator[Event]:
        """Everything that happened from a sequence on, then what happens, until the scan ends.

        Raises `NotFoundError`.
        """
        _present(await self._store.head(principal.tenant, scan_id), scan_id)
        upcoming = min(max(from_sequence, 1), _GREATEST_SEQUENCE)
        last: Progress | None = None
        while True:
            # Taken before reading: what is stored after the reading then still ends the wait.
            progress, changed = self._runner.progress(scan_id), self._runner.changed(scan_id)
            events = await self._store.events(scan_id, upcoming, _EVENTS_AT_ONCE)
            for event in events:
                upcoming = event.sequence + 1
                yield event
                if isinstance(event.what, StateChange) and event.what.state.ended:
                    return
            if events:
                continue
            if progress is None or changed is None:
                return  # it had ended before the sequence that was asked for, or was deleted
            if progress != last:
                last = progress
                yield Event(upcoming - 1, progress)
            await _either(changed, _PROGRESS_EVERY)

    async def exposure(self, principal: Principal, address: str) -> Exposure:
        """What the tenant's scans know of a host."""
        return await self._store.exposure(principal.tenant, _canonical(address))

    async def _plan(self, spec: ScanSpec) -> Plan:
        if spec.ports and spec.profile is not None:
            raise InvalidArgumentError.of("spec.profile", "set together with ports; expected one of them")
        try:
            ports = parse_ports(spec.ports) if spec.ports else profile_ports(spec.profile or PortProfile.TOP_100)
        except PortsError as error:
            raise InvalidArgumentError.of("spec.ports", str(error)) from error
        try:
            spans = await resolve(spec.targets, self._resolver, self._limits.max_addresses)
        except TargetError as error:
            raise InvalidArgumentError.of("spec.targets", str(error)) from error
        plan = Plan(spans, ports)
        if plan.probes > self._limits.max_probes:
            raise InvalidArgumentError.of(
                "spec", f"{plan.probes} probes (addresses × ports); at most {self._limits.max_probes} a scan"
            )
        return plan

    async def _authorize(
        self, principal: Principal, spec: ScanSpec, plan: Plan
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        holding = await self._scopes.holding(principal.tenant)
        try:
            allowed = scopes.authorize(plan.spans, holding, datetime.now(UTC))
        except OutOfScopeError as error:
            entry = audit_entry(principal, "scan.refused", "", (), f"{_detail(spec, plan)}: {error}")
            await self._store.audit(entry)
            raise PermissionDeniedError(str(error), reason="OUT_OF_SCOPE", metadata={"target": error.target}) from error
        authority = tuple(
            f"{scope.name} ({scope.authorized_by}: {scope.reason})" for scope in holding if scope.name in allowed
        )
        return allowed, authority

    def _fresh(self, scan: Scan) -> Scan:
        progress = self._runner.progress(scan.id)
        return scan if progress is None or scan.state.ended else replace(scan, progress=progress)


async def _either(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        pass


def _present(scan: Scan | None, scan_id: str) -> Scan:
    if scan is None:
        raise NotFoundError(f"scans/{scan_id} is not there", reason="SCAN_NOT_FOUND")
    return scan


def _canonical(address: str) -> str:
    return str(unmapped(ipaddress.ip_address(address)))


def _detail(spec: ScanSpec, plan: Plan) -> str:
    targets = ", ".join(spec.targets[:8]) + (f" and {len(spec.targets) - 8} more" if len(spec.targets) > 8 else "")
    addresses: Sequence[str] = [str(span) for span in plan.spans[:8]]
    what = f"{targets} → {', '.join(addresses)}; {len(plan.ports)} ports, {plan.probes} probes"
    return f"{what}; {spec.description}" if spec.description else what
