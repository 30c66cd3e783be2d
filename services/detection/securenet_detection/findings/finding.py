"""Incidents, how sightings add up to one, and how they are held back."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from securenet_detection.findings.sighting import FlowRecord, Sighting
from securenet_detection.fusion import WEIGHTS
from securenet_detection.threats import Evidence, ThreatLevel

MAX_PEERS: Final = 100
MAX_FLOW_IDS: Final = 10
MAX_SENSORS: Final = 16


class FindingStatus(IntEnum):
    """Where a finding stands in its life. The numbers are those of the contract."""

    NEW = 1
    IN_PROGRESS = 2
    SUPPRESSED = 3
    RESOLVED = 4


class AnalystVerdict(IntEnum):
    """What a person found out. The numbers are those of the contract."""

    UNSPECIFIED = 0
    TRUE_POSITIVE = 1
    FALSE_POSITIVE = 2
    BENIGN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One incident. Times are nanoseconds since the epoch.

    Attributes:
        risk: the highest that it reached, 0–1; the level is of it.
        flows: at most ten flows that show it, as far as they were at hand when it was reported.
        held_status: the status that comes back when the last suppression ends; None where none holds it.
        change: orders all changes of the store.
        state_scope: empty for what was found in the tenant's own state.
        fading: share of the risk that is left now, 1 as stored; see :mod:`securenet_detection.findings.fading`.
    """

    tenant: str
    id: str
    status: FindingStatus
    threat_level: ThreatLevel
    risk: float
    entity: str
    evidence: Evidence
    peers: tuple[str, ...]
    port: int | None
    flow_ids: tuple[str, ...]
    sensor_ids: tuple[str, ...]
    first_seen_ns: int
    last_seen_ns: int
    create_ns: int
    update_ns: int
    count: int
    analyst_verdict: AnalystVerdict = AnalystVerdict.UNSPECIFIED
    comment: str = ""
    updated_by: str = ""
    revision: int = 1
    suppressions: tuple[str, ...] = ()
    change: int = 0
    state_scope: str = ""
    flows: tuple[FlowRecord, ...] = ()
    held_status: FindingStatus | None = None
    fading: float = 1.0


@dataclass(frozen=True, slots=True)
class Suppression:
    """Holds back findings that match all of its conditions until it expires. Empty conditions match everything."""

    tenant: str
    id: str
    detector: str
    entity_cidr: str
    peer_cidr: str
    port: int | None
    expire_ns: int
    reason: str
    created_by: str
    create_ns: int

    def holds(self, finding: Finding) -> bool:
        """Whether it keeps the finding out of the list. What is resolved needs no keeping out."""
        return finding.status != FindingStatus.RESOLVED and self.matches(finding)

    def matches(self, finding: Finding) -> bool:
        """Whether all conditions hold. With a peer network, every known peer must lie in it."""
        return (
            self.detector in ("", finding.evidence.detector)
            and self.port in (None, finding.port)
            and (not self.entity_cidr or _within(finding.entity, self.entity_cidr))
            and (not self.peer_cidr or all(_within(peer, self.peer_cidr) for peer in finding.peers))
        )


def merge(finding: Finding | None, sighting: Sighting, now_ns: int) -> Finding:
    """The finding after a sighting. A resolved finding that is seen again is new again.

    Nothing of a finding depends on the order of its sightings but which flows are its samples.
    """
    evidence = sighting.evidence
    if finding is None:
        return Finding(
            tenant=sighting.tenant,
            id=evidence.id,
            status=FindingStatus.NEW,
            threat_level=sighting.threat_level,
            risk=sighting.risk,
            entity=sighting.entity,
            evidence=evidence,
            peers=sighting.peers[:MAX_PEERS],
            port=sighting.port,
            flow_ids=evidence.flow_ids[:MAX_FLOW_IDS],
            sensor_ids=(sighting.sensor_id,) if sighting.sensor_id else (),
            first_seen_ns=sighting.first_seen_ns,
            last_seen_ns=sighting.last_seen_ns,
            create_ns=now_ns,
            update_ns=now_ns,
            count=sighting.count,
            state_scope=sighting.state_scope,
            flows=sighting.flows[:MAX_FLOW_IDS],
        )
    flow_ids = _union(finding.flow_ids, evidence.flow_ids, MAX_FLOW_IDS)
    best = max(finding.evidence, evidence, key=_gravity)
    return replace(
        finding,
        status=FindingStatus.NEW if finding.status == FindingStatus.RESOLVED else finding.status,
        threat_level=max(finding.threat_level, sighting.threat_level),
        risk=max(finding.risk, sighting.risk),
        evidence=best._replace(flow_ids=flow_ids),
        peers=_union(finding.peers, sighting.peers, MAX_PEERS),
        flow_ids=flow_ids,
        sensor_ids=_union(finding.sensor_ids, (sighting.sensor_id,) if sighting.sensor_id else (), MAX_SENSORS),
        first_seen_ns=min(finding.first_seen_ns, sighting.first_seen_ns),
        last_seen_ns=max(finding.last_seen_ns, sighting.last_seen_ns),
        update_ns=now_ns,
        count=max(finding.count, sighting.count),
        revision=finding.revision + 1,
        flows=_distinct((*finding.flows, *sighting.flows), MAX_FLOW_IDS),
    )


def hold_back(finding: Finding, suppressions: Sequence[Suppression]) -> Finding:
    """The finding as the given suppressions leave it: suppressed by those that hold it, else as it was before them."""
    names = tuple(suppression.id for suppression in suppressions if suppression.holds(finding))
    status, held = finding.status, finding.held_status
    if names:
        # What a person suppressed by hand stays so when the rules are gone.
        if status != FindingStatus.SUPPRESSED or not finding.suppressions:
            held = status
        status = FindingStatus.SUPPRESSED
    elif finding.suppressions and status == FindingStatus.SUPPRESSED:
        status, held = held or FindingStatus.NEW, None
    else:
        held = None
    return replace(finding, status=status, suppressions=names, held_status=held)


def address_key(address: str) -> bytes:
    """16 bytes that sort as addresses do, IPv4 mapped into IPv6."""
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed


def network_range(network: str) -> tuple[bytes, bytes]:
    """First and last address key of a network, or of one address.

    Raises:
        ValueError: it is neither.
    """
    parsed = ipaddress.ip_network(network, strict=False)
    return address_key(str(parsed.network_address)), address_key(str(parsed.broadcast_address))


def _within(address: str, network: str) -> bool:
    first, last = network_range(network)
    return first <= address_key(address) <= last


def _gravity(evidence: Evidence) -> tuple[float, float]:
    return float(WEIGHTS[evidence.level]) * evidence.confidence, evidence.measured


def _union(known: tuple[str, ...], more: tuple[str, ...], limit: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))[:limit]


def _distinct(flows: Iterable[FlowRecord], limit: int) -> tuple[FlowRecord, ...]:
    known = {json.dumps(flow, sort_keys=True): flow for flow in flows}
    return tuple(known.values())[:limit]
