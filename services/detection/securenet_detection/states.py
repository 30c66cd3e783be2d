"""What is remembered of flows: a state for each tenant, and named ones beside it that live as long as they are used."""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from securenet_core.exceptions import ResourceExhaustedError
from securenet_detection.absences import Absences
from securenet_detection.behaviours.catalogue import behaviours
from securenet_detection.behaviours.interface import Usage
from securenet_detection.detector_settings import DetectorSettings, StateSettings
from securenet_detection.intel.threat_intel import ThreatIntel
from securenet_detection.models.detector import ModelDetector
from securenet_detection.repeats import Repeats
from securenet_flows.features import SourceContext

#: Smallest tables, for compiling the loops and for those who only ever ask for dry runs.
SMALLEST: Final = StateSettings(entities=64, members=64, rings=64, sources=64, contexts=64, repeats=64)


class FlowState:
    """Every detector's tables over one sequence of flows, and what those flows were answered.

    Args:
        settings: thresholds and bounds.
        clock: seconds that only rise.
    """

    def __init__(self, settings: DetectorSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self.behaviours = behaviours(settings)
        #: What they lack in flows.
        self.absences = Absences(behaviour.definition for behaviour in self.behaviours)
        #: The one of them that is told with what to compare.
        self.intel = next(behaviour for behaviour in self.behaviours if isinstance(behaviour, ThreatIntel))
        self.model = ModelDetector(settings.model, settings.state.seldom)
        self.context = SourceContext(settings.state.contexts)
        bounds = settings.state
        self.repeats = Repeats(
            flows=bounds.repeats,
            details=bounds.repeat_details,
            seconds=bounds.repeat_seconds,
            seed=secrets.randbits(62) if bounds.hash_seed is None else bounds.hash_seed,
            clock=clock,
        )
        #: Ordinal of the next row; 0 stands for "never" in the tables.
        self.ordinal = 1

    @classmethod
    def smallest(cls, settings: DetectorSettings) -> FlowState:
        """A state with the same thresholds and the least memory."""
        return cls(settings.model_copy(update={"state": SMALLEST}))

    def usages(self) -> tuple[Usage, ...]:
        """State held by each behaviour and, last, by the model's detector."""
        return (*(behaviour.usage() for behaviour in self.behaviours), self.model.usage())


@dataclass(slots=True)
class _Scope:
    """A named state, how many hold it, and when it was last used, in seconds of the monotonic clock."""

    state: FlowState
    holders: int
    used: float


class FlowStates:
    """All states, bounded: the tenant that was idle longest gives way; of named ones no more are made.

    A named state ends with its last holder or, where nobody holds it, once it was idle for a while: what was gathered
    under a name is about one capture, and means nothing after it.

    Args:
        settings: of the states and their bounds.
        clock: seconds that only rise.
    """

    def __init__(self, settings: DetectorSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._tenants: OrderedDict[str, FlowState] = OrderedDict()
        self._scopes: dict[tuple[str, str], _Scope] = {}
        #: Tenants whose state had to give way since the start.
        self.tenant_evictions = 0

    def __iter__(self) -> Iterator[FlowState]:
        yield from self._tenants.values()
        for scope in self._scopes.values():
            yield scope.state

    def find(self, tenant: str, scope: str) -> FlowState | None:
        """A state to look at, if there is one; its age stays."""
        if scope:
            found = self._scopes.get((tenant, scope))
            return None if found is None else found.state
        return self._tenants.get(tenant)

    def take(self, tenant: str, scope: str) -> FlowState:
        """A state to add flows to, made if there is none.

        Raises:
            ResourceExhaustedError: too many named states stand.
        """
        if scope:
            return self._scope(tenant, scope).state
        state = self._tenants.get(tenant)
        if state is None:
            if len(self._tenants) >= self._settings.state.tenants:
                self._tenants.popitem(last=False)
                self.tenant_evictions += 1
            state = self._tenants[tenant] = FlowState(self._settings, self._clock)
        self._tenants.move_to_end(tenant)
        return state

    def lease(self, tenant: str) -> ScopeLease:
        """For a stream: holds the named states that it uses until it ends."""
        return ScopeLease(self, tenant)

    def hold(self, tenant: str, scope: str) -> None:
        """Keeps a named state, made if there is none, from ending while it is idle.

        Raises:
            ResourceExhaustedError: too many stand.
        """
        self._scope(tenant, scope).holders += 1

    def release(self, tenant: str, scope: str) -> None:
        """Ends a named state whose last holder this was."""
        held = self._scopes[tenant, scope]
        held.holders -= 1
        held.used = self._clock()
        if not held.holders:
            del self._scopes[tenant, scope]

    def drop_idle(self) -> None:
        """Ends named states that nobody holds and nobody used for long."""
        oldest = self._clock() - self._settings.state.scope_idle_seconds
        for key in [key for key, scope in self._scopes.items() if not scope.holders and scope.used <= oldest]:
            del self._scopes[key]

    def _scope(self, tenant: str, scope: str) -> _Scope:
        found = self._scopes.get((tenant, scope))
        if found is None:
            self.drop_idle()
            of_tenant = Counter(owner for owner, _ in self._scopes)[tenant]
            bounds = self._settings.state
            if of_tenant >= bounds.tenant_scopes or len(self._scopes) >= bounds.scopes:
                raise ResourceExhaustedError(
                    f"state_scope {scope!r}: {of_tenant} scopes of this tenant and {len(self._scopes)} of all stand, "
                    f"at most {bounds.tenant_scopes} and {bounds.scopes} may; one ends with the stream that named it",
                    reason="TOO_MANY_STATE_SCOPES",
                    retry_after=1.0,
                )
            found = self._scopes[tenant, scope] = _Scope(FlowState(self._settings, self._clock), 0, 0.0)
        found.used = self._clock()
        return found


class ScopeLease:
    """The named states that one stream uses. Leave it, and those that nobody else holds end."""

    def __init__(self, states: FlowStates, tenant: str) -> None:
        self._states = states
        self._tenant = tenant
        self._held: set[str] = set()

    def hold(self, scope: str) -> None:
        """Holds a named state from now on; the tenant's own, which has no name, needs no holding.

        Raises:
            ResourceExhaustedError: too many stand.
        """
        if scope and scope not in self._held:
            self._states.hold(self._tenant, scope)
            self._held.add(scope)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for scope in self._held:
            self._states.release(self._tenant, scope)
        self._held.clear()
