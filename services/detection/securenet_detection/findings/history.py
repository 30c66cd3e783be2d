"""What people and suppressions did to a finding, and the labels that come of what people found out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from securenet_detection.findings.finding import AnalystVerdict, Finding, FindingStatus
from securenet_detection.findings.sighting import FlowRecord
from securenet_detection.threats import Technique

#: Events of a finding that are kept, the latest ones.
MAX_EVENTS: Final = 100


class FindingAction(IntEnum):
    """What befell a finding beside new evidence. The numbers are those of the contract."""

    UPDATED = 1
    SUPPRESSED = 2
    RELEASED = 3
    REOPENED = 4


@dataclass(frozen=True, slots=True)
class FindingEvent:
    """One entry of a finding's history.

    Attributes:
        change: number of the change that it was.
        time_ns: when, by the service's clock.
        actor: who; empty for the service itself.
        comment: as it stood after.
        revision: of the finding after it.
    """

    change: int
    time_ns: int
    action: FindingAction
    actor: str
    status_before: FindingStatus
    status_after: FindingStatus
    verdict_before: AnalystVerdict
    verdict_after: AnalystVerdict
    comment: str
    revision: int


def event(before: Finding, after: Finding, action: FindingAction, actor: str) -> FindingEvent:
    """The entry for a change that has its number and time."""
    return FindingEvent(
        change=after.change,
        time_ns=after.update_ns,
        action=action,
        actor=actor,
        status_before=before.status,
        status_after=after.status,
        verdict_before=before.analyst_verdict,
        verdict_after=after.analyst_verdict,
        comment=after.comment,
        revision=after.revision,
    )


def suppression_action(before: Finding, after: Finding) -> FindingAction | None:
    """What suppressions did between two states of a finding: they hold it now, let go of it, or neither."""
    if bool(before.suppressions) == bool(after.suppressions):
        return None
    return FindingAction.SUPPRESSED if after.suppressions else FindingAction.RELEASED


@dataclass(frozen=True, slots=True)
class Label:
    """What a person found out about a finding, with the flows that show it; it outlives the finding."""

    tenant: str
    finding_id: str
    change: int
    verdict: AnalystVerdict
    detector: str
    techniques: tuple[Technique, ...]
    labeled_by: str
    label_ns: int
    flows: tuple[FlowRecord, ...]


def label(finding: Finding) -> Label | None:
    """The label of a finding whose verdict has just been given; None where nobody has said."""
    if finding.analyst_verdict == AnalystVerdict.UNSPECIFIED:
        return None
    return Label(
        tenant=finding.tenant,
        finding_id=finding.id,
        change=finding.change,
        verdict=finding.analyst_verdict,
        detector=finding.evidence.detector,
        techniques=finding.evidence.techniques,
        labeled_by=finding.updated_by,
        label_ns=finding.update_ns,
        flows=finding.flows,
    )
