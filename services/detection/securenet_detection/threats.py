"""Words that everything here shares: how grave, how reasoned, which technique, what was seen."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple


class ThreatLevel(IntEnum):
    """How urgently a person should look. The numbers are those of the contract."""

    LOW = 1
    MEDIUM = 2
    HIGH = 3
    CRITICAL = 4


class AnalyticType(IntEnum):
    """How a detector reasons, in OCSF's terms. The numbers are those of the contract."""

    RULE = 1
    BEHAVIORAL = 2
    STATISTICAL = 3
    MODEL = 4


class Technique(NamedTuple):
    """A technique of MITRE ATT&CK under one of its tactics."""

    id: str
    name: str
    tactic: str


class Attack(Enum):
    """The techniques that detectors speak of (MITRE ATT&CK, Enterprise)."""

    SERVICE_DISCOVERY = Technique("T1046", "Network Service Discovery", "Discovery")
    REMOTE_SYSTEM_DISCOVERY = Technique("T1018", "Remote System Discovery", "Discovery")
    SCANNING_IP_BLOCKS = Technique("T1595.001", "Active Scanning: Scanning IP Blocks", "Reconnaissance")
    PASSWORD_GUESSING = Technique("T1110.001", "Brute Force: Password Guessing", "Credential Access")
    PASSWORD_SPRAYING = Technique("T1110.003", "Brute Force: Password Spraying", "Credential Access")
    COMPUTE_HIJACKING = Technique("T1496.001", "Resource Hijacking: Compute Hijacking", "Impact")
    NON_APPLICATION_LAYER_PROTOCOL = Technique("T1095", "Non-Application Layer Protocol", "Command and Control")
    NON_STANDARD_PORT = Technique("T1571", "Non-Standard Port", "Command and Control")
    REMOTE_DESKTOP = Technique("T1021.001", "Remote Services: Remote Desktop Protocol", "Lateral Movement")
    WINDOWS_ADMIN_SHARES = Technique("T1021.002", "Remote Services: SMB/Windows Admin Shares", "Lateral Movement")
    SSH = Technique("T1021.004", "Remote Services: SSH", "Lateral Movement")
    WINDOWS_REMOTE_MANAGEMENT = Technique("T1021.006", "Remote Services: Windows Remote Management", "Lateral Movement")
    DNS = Technique("T1071.004", "Application Layer Protocol: DNS", "Command and Control")
    EXFILTRATION_OVER_DNS = Technique(
        "T1048.003", "Exfiltration Over Alternative Protocol: Unencrypted Non-C2 Protocol", "Exfiltration"
    )
    GENERATED_DOMAINS = Technique(
        "T1568.002", "Dynamic Resolution: Domain Generation Algorithms", "Command and Control"
    )
    APPLICATION_LAYER_PROTOCOL = Technique("T1071", "Application Layer Protocol", "Command and Control")
    PROTOCOL_TUNNELING = Technique("T1572", "Protocol Tunneling", "Command and Control")
    SCHEDULED_TRANSFER = Technique("T1029", "Scheduled Transfer", "Exfiltration")
    EXFILTRATION_OVER_C2 = Technique("T1041", "Exfiltration Over C2 Channel", "Exfiltration")
    EXFILTRATION_OVER_ALTERNATIVE = Technique("T1048", "Exfiltration Over Alternative Protocol", "Exfiltration")
    NETWORK_DENIAL_OF_SERVICE = Technique("T1498", "Network Denial of Service", "Impact")
    ENDPOINT_DENIAL_OF_SERVICE = Technique("T1499", "Endpoint Denial of Service", "Impact")


class Contribution(NamedTuple):
    """What one feature added to a model's raw score.

    Attributes:
        value: of the flow, in the feature's unit; None where it is unknown.
        baseline: median of the rows of the training; None where that is not known.
        contribution: Shapley value, in log-odds of a boosted model and in votes (0–1) of a forest; of an anomaly model
            how many splits fewer it took to set the flow apart.
    """

    feature: str
    value: float | None
    baseline: float | None
    contribution: float


class Evidence(NamedTuple):
    """One detector's reason to suspect a flow. A tuple, since thousands a second are made, and dataclasses are slow.

    Attributes:
        id: the same detector, entity, peer scope and port of a tenant give the same id.
        level: how grave it is on its own.
        confidence: probability that it is right, 0–1.
        measured, threshold: in the unit of the detector.
        measure: name of what was measured; empty where an older version stored the evidence.
        flow_ids: at most ten flows that show it.
        contributions: what moved a model's score, the largest first.
    """

    id: str
    detector: str
    detector_version: str
    analytic_type: AnalyticType
    level: ThreatLevel
    confidence: float
    summary: str
    measured: float
    threshold: float
    techniques: tuple[Technique, ...]
    flow_ids: tuple[str, ...]
    measure: str = ""
    contributions: tuple[Contribution, ...] = ()


class Skipped(NamedTuple):
    """A detector that could not judge, so that silence is not read as innocence."""

    detector: str
    reason: str
