"""What each detector can be told: thresholds, windows, and how much it remembers.

Set as SECURENET_DETECTION_DETECTORS__HORIZONTAL_SCAN__REMOTE_DESTINATIONS=40, or in `[detectors.horizontal_scan]` of
the TOML file; :mod:`.settings` holds the rest of the service's.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from securenet_core.settings import Port


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"{value} is no power of two")
    return value


#: Slots of the smallest table.
_FEWEST: Final = 64

Slots = Annotated[int, Field(ge=_FEWEST, le=1 << 24), AfterValidator(_power_of_two)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Bytes = Annotated[int, Field(ge=1, le=1 << 50)]
Seconds = Annotated[float, Field(gt=0, le=7 * 86_400)]
Hours = Annotated[float, Field(gt=0, le=7 * 24)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Part(BaseModel):
    """A group of settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class StateSettings(Part):
    """How much a detector remembers, for each tenant. 65,536 entities take 13 MB, 262,144 members 8 MB, once used; all
    tables of a tenant together 400 MB at most."""

    entities: Slots = 1 << 16
    """Entities (sources, pairs) remembered by each detector; a power of two. Detectors of what few do (tunnels in ICMP,
    mining, odd ports, generated names, indicators, the model's suspicions) or that have few entities (victims) remember
    a quarter as many."""

    members: Slots = 1 << 18
    """Members of their sets (destinations, ports) remembered by each detector that tells them apart; a power of two."""

    rings: Slots = 1 << 13
    """Pairs whose last 64 connections beacon remembers; a power of two. 8,192 take 11 MB."""

    sources: Slots = 1 << 14
    """Sources whose usual volume exfiltration remembers; a power of two. 16,384 take 9 MB."""

    contexts: Slots = 1 << 16
    """Sources and destinations whose history feeds the model's features; a power of two."""

    repeats: Slots = 1 << 20
    """Flows with a flow_id that are known again when they come again, 32 bytes each once used; a power of two. Where
    they come faster than it can keep them for `repeat_seconds`, the oldest give way and would count anew."""

    repeat_seconds: Seconds = 3600.0
    """How long a flow is known again."""

    repeat_details: Count = 8192
    """Of how many of them the evidence that was told is kept, about 1 KB each."""

    tenants: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Tenants with state at once; the one that was idle longest gives way to another."""

    tenant_scopes: Annotated[int, Field(ge=1, le=1000)] = 8
    """Named states (state_scope of a batch) of a tenant at once; each is bounded as the tenant's own is. Further ones
    are refused."""

    scopes: Annotated[int, Field(ge=1, le=10_000)] = 32
    """Named states of all tenants at once."""

    scope_idle_seconds: Seconds = 600.0
    """How long a named state that no open stream has named is kept after its last flow."""

    hash_seed: Annotated[int, Field(ge=0, lt=1 << 62)] | None = None
    """Key of the hashes that place entities in tables. Absent: drawn at start, so that nobody can aim at a bucket."""

    @property
    def seldom(self) -> StateSettings:
        """Bounds of detectors of which few sources or pairs are entities."""
        return self.model_copy(update={"entities": max(self.entities // 4, _FEWEST)})


class HorizontalScanSettings(Part):
    """Thresholds of horizontal-scan."""

    remote_destinations: Count = 25
    """Distinct destinations outside the network that did not answer on one port."""

    local_destinations: Count = 250
    """The same inside the network."""

    window_seconds: Seconds = 300.0
    """How far back is counted."""

    burst_destinations: Count = 10
    """Destinations within `burst_seconds`, for LOW."""

    burst_seconds: Seconds = 10.0
    """How far back a burst is counted."""


class VerticalScanSettings(Part):
    """Thresholds of vertical-scan."""

    ports: Count = 15
    """Distinct ports of one host that did not answer."""

    window_seconds: Seconds = 300.0
    """How far back is counted."""


class DistributedScanSettings(Part):
    """Thresholds of distributed-scan."""

    ports: Count = 15
    """Distinct ports of one own host that did not answer somebody outside."""

    window_seconds: Seconds = 21_600.0
    """How far back is counted."""


class SequentialScanSettings(Part):
    """Parameters of sequential-scan (Jung et al. 2004)."""

    honest_success: Probability = 0.8
    """θ0: probability that a first contact of an honest source succeeds."""

    scanner_success: Probability = 0.2
    """θ1: the same for a scanner."""

    detection_probability: Probability = 0.99
    """P_D: share of scanners that must be found."""

    false_positive_probability: Probability = 0.01
    """P_F: share of honest sources that may be accused."""

    window_seconds: Seconds = 1800.0
    """How long evidence lasts after the last failed first contact."""


class BruteForceSettings(Part):
    """Thresholds of brute-force."""

    attempts: Count = 30
    """Failed logins, or exchanges shaped like one, at one service of one host."""

    burst_attempts: Count = 10
    """The same within `burst_seconds`, for LOW."""

    burst_seconds: Seconds = 120.0
    """How far back a burst is counted."""

    window_seconds: Seconds = 1800.0
    """How far back is counted."""

    max_duration_seconds: Seconds = 60.0
    """Longest exchange that counts where the sensor did not judge the login."""

    max_bytes: Count = 8192
    """Largest payload of either side that counts where the sensor did not judge the login."""


class PasswordSpraySettings(Part):
    """Thresholds of password-spray; what an attempt is stands in brute-force's."""

    hosts: Count = 5
    """Hosts at one service of which logins failed; twice as many where only their shape says so."""

    window_seconds: Seconds = 1800.0
    """How far back is counted."""


class CryptominingSettings(Part):
    """Parameters of cryptomining."""

    window_seconds: Seconds = 3600.0
    """How long evidence lasts."""


class UnansweredCallsSettings(Part):
    """Thresholds of unanswered-calls."""

    connections: Count = 30
    """Connections to one destination and port that failed."""

    window_seconds: Seconds = 3600.0
    """How far back is counted."""


class IcmpTunnelSettings(Part):
    """Thresholds of icmp-tunnel."""

    irregular_bytes: Bytes = 25_000
    """Payload beyond 64 bytes a packet, of echoes whose sizes vary or whose answers differ from the requests."""

    regular_bytes: Bytes = 10_000_000
    """Payload of echoes that all have one size."""

    window_seconds: Seconds = 600.0
    """How far back is counted."""


Domain = Annotated[str, Field(pattern=r"^[^\s.]+(\.[^\s.]+)*\.?$", max_length=253)]


class NameSettings(Part):
    """What the detectors that read DNS names know of this site."""

    local_domains: tuple[Domain, ...] = ()
    """Domains of one's own network beside those that are nobody's (local, lan, home.arpa, arpa …); never judged."""

    reputation_domains: tuple[Domain, ...] = ()
    """Domains of services asked by checksums or addresses in names, beside those that are built in; never judged."""


class DnsTunnelSettings(Part):
    """Thresholds of dns-tunnel."""

    long_names: Count = 15
    """Distinct names of one domain that are shaped like encoded data."""

    length: Annotated[int, Field(ge=1, le=253)] = 50
    """Characters before the registered domain from which a name is shaped like data."""

    entropy: Annotated[float, Field(gt=0, le=8)] = 4.0
    """Bits per character, of 20 or more, from which it is."""

    window_seconds: Seconds = 300.0
    """How far back names that are shaped like data count, and long requests."""

    low_names: Count = 100
    """Distinct names of one domain in a day for LOW."""

    medium_names: Count = 500
    """The same for MEDIUM."""

    high_names: Count = 800
    """The same for HIGH."""

    critical_names: Count = 1000
    """The same for CRITICAL."""

    day_seconds: Seconds = 86_400.0
    """How far back their number counts."""

    long_queries: Count = 150
    """Long requests to one server where no name is known but the first of a conversation."""


class DgaSettings(Part):
    """Parameters of dga."""

    names: Count = 10
    """Generated domains that do not exist, one after the other, that make a finding."""

    high_names: Count = 20
    """The same for HIGH."""

    suspicion: Probability = 0.35
    """Probability from which a name looks generated; at 0.35 one ordinary name in twelve does."""

    honest_failure: Probability = 0.05
    """θ0: probability that a first domain of an honest source looks generated and does not exist."""

    infected_failure: Probability = 0.5
    """θ1: the same for an infected source."""

    detection_probability: Probability = 0.99
    """P_D: share of infected sources that must be found before a source is taken for honest."""

    window_seconds: Seconds = 3600.0
    """How long evidence lasts after the last such domain, and an idle walk."""


class LateralMovementSettings(Part):
    """Thresholds of lateral-movement."""

    medium_destinations: Count = 3
    """Internal hosts administered for the first time, by a source that is known, for MEDIUM; one is LOW."""

    high_destinations: Count = 6
    """The same for HIGH."""

    learning_destinations: Count = 4
    """The same for LOW, the most that a source may get that is still being learnt."""

    popular_sources: Count = 3
    """A service of a host that so many sources used before is everybody's, and no news."""

    learning_seconds: Seconds = 1800.0
    """How long a source is watched before it is judged."""

    learning_flows: Count = 50
    """In how many flows a source is watched before it is judged."""

    window_seconds: Seconds = 1800.0
    """How far back is counted."""


class OddPortSettings(Part):
    """Thresholds of odd-port."""

    flows: Count = 1
    """Answered connections of a service to a port where it does not belong."""

    allowed_ports: tuple[Port, ...] = ()
    """Ports on which this site runs whatever it likes; never odd."""

    window_seconds: Seconds = 3600.0
    """How far back is counted, and how long evidence lasts."""


class PrevalenceSettings(Part):
    """When a destination outside is usual: what several detectors hold a command server's opposite for."""

    popular_hosts: Count = 4
    """Own hosts that make a destination popular, at least."""

    popular_share: Probability = 0.05
    """Share of the own hosts that makes it popular, where that is more."""

    rare_share: Probability = 0.02
    """Share of the own hosts up to which it is rare; one host always is."""

    known_hosts: Count = 10
    """Own hosts that must be known before anything is held for rare."""

    days: Annotated[float, Field(gt=0, le=365)] = 7.0
    """Days after which who used a destination is forgotten by degrees."""


class BeaconSettings(Part):
    """Thresholds of beacon."""

    score: Probability = 0.7
    """Mean of the four subscores from which a pair of at least 16 calls is a beacon."""

    high_score: Probability = 0.9
    """The same for HIGH, which only rare destinations reach."""

    percentile: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.9999
    """Share of series of calls at random times that must be less regular."""

    window_seconds: Annotated[float, Field(ge=60, le=7 * 86_400)] = 86_400.0
    """Silence after which a pair begins anew."""


class LongConnectionSettings(Part):
    """Thresholds of long-connection, hours of connected time within the window."""

    low_hours: Hours = 1.0
    """LOW."""

    medium_hours: Hours = 4.0
    """MEDIUM, but to destinations that are popular."""

    high_hours: Hours = 12.0
    """HIGH, to destinations that are known to be rare and not to services that push."""

    web_low_hours: Hours = 4.0
    """LOW to ports of services that push (web, mail, chat)."""

    web_medium_hours: Hours = 12.0
    """MEDIUM to them; by itself a connection to them is never HIGH."""

    window_seconds: Annotated[float, Field(ge=3600, le=7 * 86_400)] = 86_400.0
    """How far back is counted."""


class StrobeSettings(Part):
    """Thresholds of strobe."""

    connections: Count = 86_400
    """Connections to one destination and port."""

    window_seconds: Seconds = 86_400.0
    """How far back is counted."""


class ExfiltrationSettings(Part):
    """Thresholds of exfiltration."""

    bytes: Bytes = 500_000_000
    """Bytes to one destination outside that stand out, whoever sends them."""

    unusual_bytes: Bytes = 50_000_000
    """Fewest bytes that stand out because their source does not send so much as a rule."""

    unusual_times: Annotated[int, Field(ge=2, le=1000)] = 8
    """How many times its usual (99 % quantile of its hours) a source must send to stand out."""

    history_hours: Annotated[int, Field(ge=2, le=1000)] = 24
    """Hours in which a source sent something before its usual is known."""

    asymmetry: Probability = 0.8
    """(out − in) / (out + in) from which traffic is an upload."""

    window_seconds: Seconds = 3600.0
    """How far back is counted."""


class FloodSettings(Part):
    """Thresholds of flood."""

    connections_per_second: Count = 100
    """Connections a second to one destination that come to nothing, from many sources."""

    sources: Annotated[int, Field(ge=2, le=200)] = 50
    """Sources that are many."""

    packets_per_second: Count = 5000
    """Packets a second to one destination without an answer, from however many sources."""

    window_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    """How far back is counted."""

    hold_seconds: Seconds = 60.0
    """How long evidence lasts."""


class ThreatIntelSettings(Part):
    """Thresholds of threat-intel."""

    minimum_confidence: Annotated[int, Field(ge=1, le=100)] = 10
    """Confidence, in percent, that a feed must have in an indicator."""

    window_seconds: Seconds = 86_400.0
    """How long meetings of a host and an indicator are one episode of a finding."""

    lookback_days: Annotated[float, Field(ge=0, le=36_500)] = 30.0
    """How long before its validity an indicator speaks of as well: addresses are used before they are published."""


class ModelDetectorSettings(Part):
    """When the model's suspicions become a finding."""

    flows: Count = 3
    """Suspicious flows of a source to a port that make a finding."""

    window_seconds: Seconds = 3600.0
    """How far back is counted."""


class AnomalySettings(Part):
    """When the anomaly model speaks."""

    tail: Annotated[float, Field(gt=0, le=0.1)] = 0.001
    """Share of ordinary flows that are as odd as a flow that it speaks of, at most."""


class DetectorSettings(Part):
    """Every detector's settings."""

    evidence_half_life_seconds: Annotated[float, Field(ge=1, le=31_536_000)] = 3600.0
    """Seconds, by the time of the flows, in which evidence halves after its last cause, until it ends with its
    detector's window."""

    state: StateSettings = StateSettings()
    """Bounds of state."""

    horizontal_scan: HorizontalScanSettings = HorizontalScanSettings()
    """horizontal-scan."""

    vertical_scan: VerticalScanSettings = VerticalScanSettings()
    """vertical-scan."""

    sequential_scan: SequentialScanSettings = SequentialScanSettings()
    """sequential-scan."""

    brute_force: BruteForceSettings = BruteForceSettings()
    """brute-force."""

    password_spray: PasswordSpraySettings = PasswordSpraySettings()
    """password-spray."""

    cryptomining: CryptominingSettings = CryptominingSettings()
    """cryptomining."""

    unanswered_calls: UnansweredCallsSettings = UnansweredCallsSettings()
    """unanswered-calls."""

    distributed_scan: DistributedScanSettings = DistributedScanSettings()
    """distributed-scan."""

    names: NameSettings = NameSettings()
    """What is known of DNS names."""

    dns_tunnel: DnsTunnelSettings = DnsTunnelSettings()
    """dns-tunnel."""

    dga: DgaSettings = DgaSettings()
    """dga."""

    icmp_tunnel: IcmpTunnelSettings = IcmpTunnelSettings()
    """icmp-tunnel."""

    lateral_movement: LateralMovementSettings = LateralMovementSettings()
    """lateral-movement."""

    odd_port: OddPortSettings = OddPortSettings()
    """odd-port."""

    prevalence: PrevalenceSettings = PrevalenceSettings()
    """What usual destinations are, to beacon and long-connection."""

    beacon: BeaconSettings = BeaconSettings()
    """beacon."""

    long_connection: LongConnectionSettings = LongConnectionSettings()
    """long-connection."""

    strobe: StrobeSettings = StrobeSettings()
    """strobe."""

    exfiltration: ExfiltrationSettings = ExfiltrationSettings()
    """exfiltration."""

    flood: FloodSettings = FloodSettings()
    """flood."""

    threat_intel: ThreatIntelSettings = ThreatIntelSettings()
    """threat-intel."""

    model: ModelDetectorSettings = ModelDetectorSettings()
    """model."""

    anomaly: AnomalySettings = AnomalySettings()
    """anomaly."""
