"""What a person should mend, told from what a port says without a login."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from securenet_scanner.cvss import Severity
from securenet_scanner.network.banners import Banner, printable
from securenet_scanner.network.services import Service


@dataclass(frozen=True, slots=True)
class Misconfiguration:
    """A problem of one port, with what shows it and what to do."""

    id: str
    """Stable: the same host, port and problem give the same id in a later scan."""
    address: str
    port: int
    severity: Severity
    title: str
    evidence: str
    remedy: str


def check(address: str, port: int, banner: Banner, service: Service) -> list[Misconfiguration]:
    """The problems that a banner shows."""
    found: list[Misconfiguration] = []

    def add(rule: str, severity: Severity, title: str, remedy: str) -> None:
        identity = hashlib.sha256(f"{address}|{port}|tcp|{rule}".encode()).hexdigest()[:16]
        found.append(Misconfiguration(identity, address, port, severity, title, printable(banner.data)[:200], remedy))

    if service.name == "redis" and banner.data.startswith((b"+PONG", b"-ERR wrong number")):
        add(
            "redis-unauthenticated",
            Severity.CRITICAL,
            "Redis answers commands without a password",
            "Set requirepass or an ACL, and bind it to the addresses that need it.",
        )
    if service.name == "telnet":
        add("telnet", Severity.HIGH, "Telnet carries logins in clear text", "Turn it off and use SSH.")
    if service.name == "ftp" and not banner.tls:
        add(
            "ftp-cleartext",
            Severity.MEDIUM,
            "FTP carries logins in clear text",
            "Use SFTP, or require TLS for the control channel.",
        )
    if service.name == "ssh" and re.match(rb"SSH-1\.[0-8]", banner.data):
        add("ssh-1", Severity.HIGH, "SSH protocol 1 is broken", "Turn protocol 1 off.")
    if (
        service.name == "http"
        and not banner.tls
        and re.search(rb"\r\nWWW-Authenticate:[ \t]*Basic", banner.data, re.IGNORECASE)
    ):
        add(
            "http-basic-cleartext",
            Severity.MEDIUM,
            "HTTP asks for a password in clear text",
            "Serve it over TLS alone.",
        )
    return found
