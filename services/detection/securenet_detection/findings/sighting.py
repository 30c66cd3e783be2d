"""What detection reports about a finding: that it began, or has news."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from securenet_detection.threats import Evidence, ThreatLevel

#: A flow as plain values by column: start_time_ns, src_ip, dst_ip, protocol, and the columns that it has a value in.
FlowRecord = Mapping[str, str | int]


class Origin(NamedTuple):
    """Whose flows they are, and in which named state they were seen, where that is not the tenant's own."""

    tenant: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One report of a detector about an entity and its peers.

    Attributes:
        tenant: whose flows they are.
        evidence: with the finding's identity.
        entity: address that it is about.
        peer_scope: which peers belong to the same finding, in the detector's words.
        port: responder's port, where the finding is about one.
        threat_level, risk: of the flow that made the report, all its evidence fused; risk 0–1.
        peers: other sides, as far as sampled.
        sensor_id: sensor of the flow.
        first_seen_ns, last_seen_ns: start times of the episode's first and latest flow.
        count: flows.
        state_scope: named state that the flows were seen in; empty for the tenant's own.
        flows: those of the flows that show it which came in the same batch.
    """

    tenant: str
    evidence: Evidence
    entity: str
    peer_scope: str
    port: int | None
    threat_level: ThreatLevel
    risk: float
    peers: tuple[str, ...]
    sensor_id: str | None
    first_seen_ns: int
    last_seen_ns: int
    count: int
    state_scope: str = ""
    flows: tuple[FlowRecord, ...] = ()


@lru_cache(1 << 12)
def finding_id(origin: Origin, detector: str, entity: str, peer_scope: str, port: int | None) -> str:
    """Identity of a finding, 32 hexadecimal digits: the same incident seen again is the same finding."""
    parts = [origin.tenant, detector, entity, peer_scope, "" if port is None else str(port)]
    if origin.scope:
        parts.append(origin.scope)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
