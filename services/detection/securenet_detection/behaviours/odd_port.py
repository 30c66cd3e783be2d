"""A service on a port where it does not belong, as the sensor recognised it by its content.

Definition: Zeek's dynamic protocol detection names a connection's `service` by what is spoken, whatever the port. A
service is odd where the port is neither its IANA registration nor one of its usual alternates (the table below). HTTP
and TLS are spoken on ports of all kinds, so they are odd only on ports that are registered to other, well-known
services. Of several services in one connection none may belong. Only connections that were answered count. MITRE ATT&CK
T1571, Non-Standard Port; Zeek's documentation on dynamic protocol detection ("ProtocolDetector::Protocol_Found").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_detection.behaviours import row_kernels as rows
from securenet_detection.behaviours.episodes import Episodes, evidence
from securenet_detection.behaviours.interface import Definition, Observed, Sample, Scope, Shown, Threshold, Usage
from securenet_detection.behaviours.observation import TCP, UDP, Observation, owned
from securenet_detection.detector_settings import OddPortSettings, StateSettings
from securenet_detection.threats import AnalyticType, Attack, ThreatLevel

#: Ports of services that have their own: IANA's registration first, then alternates that are in wide use.
STRICT: Final[Mapping[str, Sequence[int]]] = {
    "ssh": (22, 2222, 22222, 8022, 830, 29418, 222, 2022, 2200),  # 830 NETCONF, 29418 Gerrit
    "ftp": (21, 2121, 990, 8021),
    "smtp": (25, 465, 587, 2525, 26, 1025, 10024, 10025),  # 10024 and 10025 content filters
    "imap": (143, 993),
    "pop3": (110, 995),
    "dns": (53, 853, 137, 5353, 5355, 1053, 5300, 8600, 8053),  # 8600 Consul
    "rdp": (3389, 3390, 3391),
    "smb": (445, 139),
    "irc": (194, 6697, *range(6660, 6670), 7000, 9999),
    "telnet": (23, 2323, 992),
    "mysql": (3306, 3307, 33060),
    "postgresql": (5432, 5433, 6432),
    "redis": (6379, 6380, 26379),
    "ldap": (389, 636, 3268, 3269),
    "rfb": (*range(5900, 5911), 5800, 5999),
    "krb": (88, 464, 749, 750),
    "socks": (1080, 1081, 9050, 9150),
    "mqtt": (1883, 8883),
}

#: Ports on which HTTP and TLS belong although other services are registered there, or none is.
LENIENT: Final[Mapping[str, Sequence[int]]] = {
    "http": (80, 81, 82, 83, 84, 85, 280, 591, 593, 631, 777, 832, 901),
    # RFC 7605 and IANA's names with -ssl and -tls; the others begin in clear and change to TLS (STARTTLS).
    "ssl": (
        443, 261, 271, 322, 324, 448, 465, 563, 614, 636, 684, 695, 832, 853, 989, 990, 992, 993, 994, 995,
        21, 25, 110, 143, 389, 587, 1433, 3306, 3389, 5432, 5900, 6379,
    ),
}  # fmt: skip

#: Ports above 1023 that belong to one service so firmly that HTTP or TLS there is a disguise; below, every one does.
_FIRM: Final = (1433, 1521, 2049, 3306, 3389, 5060, 5432, 5900, 6379, 6667)

#: Names of one service at other tools.
_ALIASES: Final = {
    "tls": "ssl", "quic": "", "vnc": "rfb", "smtps": "smtp", "imaps": "imap", "pops": "pop3", "pop": "pop3",
    "ftps": "ftp", "ftp_control": "ftp", "krb_tcp": "krb", "kerberos": "krb", "smbv1": "smb", "smbv23": "smb",
    "ldap_tcp": "ldap", "ldap_udp": "ldap", "postgres": "postgresql",
}  # fmt: skip

#: Longest name and most names of a `service` that are looked at: Zeek joins those that it recognised with commas.
_LONGEST: Final = 256
_NAMES: Final = 8

#: Dictionaries up to this length are read whole; what is read of shorter ones is remembered, and of many of them.
_FEW: Final = 256
_REMEMBERED: Final = 16

#: Rows of the table of odd ports, by service; 0 stands for none.
_POSITIONS: Final = {name: position for position, name in enumerate((*STRICT, *LENIENT), start=1)}


class OddPort:
    """Key: source, destination and port."""

    def __init__(self, settings: OddPortSettings, state: StateSettings) -> None:
        self._settings = settings
        self._episodes = Episodes(entities=state.entities, members=0, window_ns=int(settings.window_seconds * 1e9))
        self._odd = np.zeros((len(_POSITIONS) + 1, 1 << 16), np.bool_)
        for name, position in _POSITIONS.items():
            self._odd[position] = _odd_ports(name)
            self._odd[position, list(settings.allowed_ports)] = False
        self.definition = Definition(
            name="odd-port",
            version="1",
            description="Connections of a service on a port where it does not belong; measured in flows.",
            analytic_type=AnalyticType.RULE,
            thresholds=(
                Threshold("flows", settings.flows, "flows", "answered connections to one port of one host"),
                Threshold("window", settings.window_seconds, "seconds", "how far back is counted"),
            ),
            required_fields=("service", "dst_port"),
            techniques=(Attack.NON_STANDARD_PORT.value,),
            measure="flows",
            protocols=(TCP, UDP),
        )

    def observe(self, seen: Observation) -> Observed | None:
        if "service" not in seen.batch.text and self._episodes.silent:
            return None
        odd, count, strict = self._judge(seen)
        if self._episodes.silent and not count:
            return None
        thresholds = np.full(len(seen), self._settings.flows, np.int64)
        out = self._episodes.count(
            seen,
            keys=seen.number(rows.PORT_PAIR),
            members=seen.dst,
            weights=odd.astype(np.int64),
            thresholds=thresholds,
        )
        if out is None:
            return None
        # One's own programs are found on all kinds of ports; what leaves the network on one has a reason to.
        leaving = seen.src_local & ~seen.dst_local & strict()
        return evidence(
            out,
            measured=out[:, 0].astype(np.float64),
            thresholds=thresholds.astype(np.float64),
            level=np.where(leaving, ThreatLevel.MEDIUM, ThreatLevel.LOW).astype(np.uint8),
            technique=np.zeros(len(seen), np.uint8),
        )

    def _judge(self, seen: Observation) -> tuple[NDArray[np.bool_], int, Callable[[], NDArray[np.bool_]]]:
        """Boolean (n,): answered rows whose port is odd for every service that was recognised; how many there are; and,
        if it is asked for, rows with strict ones only."""
        column = seen.batch.texts("service")
        codes, values = column.codes, column.values
        if len(values) > _FEW:
            # A piece of a batch carries the whole batch's dictionary; only what its own rows use is worth reading.
            used, again = np.unique(codes, return_inverse=True)
            absent = int(len(used) > 0 and used[0] < 0)
            values = tuple(values[code] for code in used[absent:].tolist())
            codes = (again.reshape(-1) - absent).astype(np.int32)
        known = _known(values) if len(values) <= _REMEMBERED else _read(values)
        odd = np.empty(len(seen), np.bool_)
        count = rows.find_odd_ports(owned(codes), known, seen.mark(rows.ANSWERED), seen.dst_port, self._odd, odd)

        def strict() -> NDArray[np.bool_]:
            found: NDArray[np.bool_] = ((known[:, 0] > 0) & (known <= len(STRICT)).all(axis=1))[codes]
            return found

        return odd, count, strict

    def scope(self, seen: Observation, row: int) -> Scope:
        return Scope(seen.source(row), seen.destination(row), int(seen.dst_port[row]))

    def summary(self, seen: Observation, row: int, shown: Shown) -> str:
        service = (seen.batch.texts("service")[row] or "a service")[: _NAMES * 8]
        return (
            f"{seen.source(row)} speaks {service} with {seen.destination(row)} on {seen.service(row)}, where it does "
            f"not belong ({shown.measured:.0f} connections)"
        )

    def samples(self, shown: Shown) -> tuple[Sample, ...]:
        return self._episodes.samples(shown.sample)

    def usage(self) -> Usage:
        return self._episodes.usage()


def _read(values: tuple[str, ...]) -> NDArray[np.int64]:
    """int64 (values + 1, places): positions in the table of the services that each value names, and none at the end.

    Several may speak in one connection, as SMB and NTLM.
    """
    found = []
    for value in values:
        names = value[:_LONGEST].lower().split(",", _NAMES)[:_NAMES]
        positions = (_POSITIONS.get(_ALIASES.get(name, name), 0) for name in names)
        found.append([position for position in positions if position])
    known = np.zeros((len(values) + 1, max(1, *map(len, found))) if found else (1, 1), np.int64)
    for row, some in enumerate(found):
        known[row, : len(some)] = some
    return known


_known = lru_cache(64)(_read)


def _odd_ports(name: str) -> NDArray[np.bool_]:
    """Boolean (65536,): the ports where a service does not belong; port 0 is unknown, and never odd."""
    odd = np.ones(1 << 16, np.bool_)
    if name in LENIENT:
        odd[1024:] = False
        odd[list(_FIRM)] = True
    odd[list(STRICT.get(name, LENIENT.get(name, ())))] = False
    odd[0] = False
    return odd
