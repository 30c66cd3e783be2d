"""What callers may do with scopes. Everything is told to the audit log."""

from __future__ import annotations

from datetime import UTC, datetime

from securenet_core.exceptions import FailedPreconditionError, InvalidArgumentError, NotFoundError
from securenet_core.principal import Principal
from securenet_scanner.network import scopes
from securenet_scanner.network.scopes import OutOfScopeError, Scope
from securenet_scanner.network.targets import TargetError, parse_network
from securenet_scanner.scans.requests import audit_entry, new_id, refuse_zero_bytes
from securenet_scanner.scans.scan import Scan
from securenet_scanner.scans.stores import Page, ScopeStore


class Scopes:
    """The tenants' permissions to scan."""

    def __init__(self, store: ScopeStore, *, loopback: bool) -> None:
        self._store = store
        self._loopback = loopback

    async def holding(self, tenant: str) -> list[Scope]:
        """Every scope that holds now, the built-in one among them."""
        built_in = [scopes.loopback(tenant)] if self._loopback else []
        return built_in + await self._store.active(tenant, datetime.now(UTC))

    async def create(self, principal: Principal, wanted: Scope, request_id: str) -> Scope:
        """Allow the tenant to scan networks until a time.

        Raises `InvalidArgumentError` naming the field that is wrong.
        """
        now = datetime.now(UTC)
        texts = {"scope.authorized_by": wanted.authorized_by, "scope.reason": wanted.reason, "request_id": request_id}
        refuse_zero_bytes(texts)
        if not wanted.cidrs:
            raise InvalidArgumentError.of("scope.cidrs", "empty; expected at least one network")
        for place, cidr in enumerate(wanted.cidrs):
            try:
                parse_network(cidr)
            except TargetError as error:
                raise InvalidArgumentError.of(f"scope.cidrs[{place}]", str(error)) from error
        if not wanted.authorized_by.strip():
            raise InvalidArgumentError.of("scope.authorized_by", "empty; say who allowed it")
        if not wanted.reason.strip():
            raise InvalidArgumentError.of("scope.reason", "empty; say why it is allowed")
        if wanted.expire_time is None or wanted.expire_time <= now:
            raise InvalidArgumentError.of("scope.expire_time", "absent or past; a scope ends at some time to come")
        scope = Scope(
            id=new_id(),
            tenant=principal.tenant,
            cidrs=wanted.cidrs,
            authorized_by=wanted.authorized_by.strip(),
            reason=wanted.reason.strip(),
            expire_time=wanted.expire_time,
            created_by=principal.subject,
            create_time=now,
        )
        detail = f"{', '.join(scope.cidrs)} until {wanted.expire_time.isoformat()}: {scope.reason}"
        entry = audit_entry(principal, "scope.create", scope.name, (scope.authorized_by,), detail)
        return await self._store.create(scope, request_id, entry)

    async def page(self, principal: Principal, page: Page) -> list[Scope]:
        """One page, the latest first; loopback stands at the end of the last one."""
        found = await self._store.page(principal.tenant, datetime.now(UTC), page)
        if self._loopback and len(found) < page.size:
            found.append(scopes.loopback(principal.tenant))
        return found

    async def delete(self, principal: Principal, scope_id: str) -> None:
        """End a scope.

        Raises `NotFoundError`, and `FailedPreconditionError` for the built-in one.
        """
        if scope_id == scopes.LOOPBACK_ID:
            raise FailedPreconditionError(
                "scopes/loopback is built in; the setting loopback_scope turns it off", reason="SCOPE_BUILT_IN"
            )
        entry = audit_entry(principal, "scope.delete", f"scopes/{scope_id}", (), "")
        if not await self._store.delete(principal.tenant, scope_id, entry):
            raise NotFoundError(f"scopes/{scope_id} is not there, or was deleted", reason="SCOPE_NOT_FOUND")


async def authority_of(scopes_of: Scopes, scan: Scan) -> str:
    """Why a scan may not go on: a scope that it rests on has ended. Empty where it may."""
    try:
        scopes.authorize(scan.plan.spans, await scopes_of.holding(scan.tenant), datetime.now(UTC))
    except OutOfScopeError as error:
        return f"a scope ended: {error}"
    return ""
