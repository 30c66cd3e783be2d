"""The chain of hashes that the audit log hangs on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from securenet_registry.model import AuditEntry

#: What the first entry names as its predecessor.
ORIGIN: Final = "0" * 64


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """Whether a chain holds: entries walked, the first that does not fit (0 for none), why, and the last hash."""

    entries: int
    first_invalid: int
    detail: str
    head_hash: str


def hash_entry(tenant: str, entry: AuditEntry) -> str:
    """SHA-256, in hex, over everything an entry says and over the hash before it."""
    fields = [
        tenant, entry.sequence, entry.create_ns, entry.actor, entry.action, entry.resource, entry.detail,
        entry.previous_hash,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


def chain(tenant: str, last: AuditEntry | None, entry: AuditEntry) -> AuditEntry:
    """The entry as it follows after `last`, numbered and hashed."""
    sequence = last.sequence + 1 if last else 1
    linked = replace(entry, sequence=sequence, previous_hash=last.hash if last else ORIGIN)
    return replace(linked, hash=hash_entry(tenant, linked))


def verify(tenant: str, entries: Iterable[AuditEntry]) -> AuditVerdict:
    """Walks a tenant's entries from the first."""
    previous, walked = ORIGIN, 0
    for walked, entry in enumerate(entries, start=1):
        if entry.sequence != walked:
            return AuditVerdict(walked, entry.sequence, f"number {entry.sequence}; expected {walked}", previous)
        if entry.previous_hash != previous:
            return AuditVerdict(walked, walked, "does not follow on the entry before it", previous)
        if entry.hash != hash_entry(tenant, entry):
            return AuditVerdict(walked, walked, "its hash is not the hash of what it says", previous)
        previous = entry.hash
    return AuditVerdict(walked, 0, "", previous)
