"""What is known of the software that a banner names: where it is a package, what advisories say of its version."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

from securenet_core.exceptions import SecurenetError
from securenet_core.logs import get_logger
from securenet_scanner.advisories.knowledge import Knowledge
from securenet_scanner.advisories.matching import Coverage, PackageMatch
from securenet_scanner.network.services import Service
from securenet_scanner.scans.scan import Finding, PortFacts

_log = get_logger(__name__)

#: Servers that are packages of PyPI, by the product that they name in lower case.
_PYPI: Final = {
    "cherrypy": "cherrypy",
    "daphne": "daphne",
    "gunicorn": "gunicorn",
    "hypercorn": "hypercorn",
    "tornadoserver": "tornado",
    "twistedweb": "twisted",
    "uvicorn": "uvicorn",
    "waitress": "waitress",
    "werkzeug": "werkzeug",
}

#: A banner states the version that upstream gave; a distribution may have mended it without changing that.
_CONFIDENCE: Final = 0.7

_MAX_FINDINGS: Final = 100
"""Vulnerabilities of one port that become findings, the gravest first."""


class PackageMatcher(Protocol):
    """What is known of packages."""

    async def knowledge(self) -> Knowledge | None:
        """What the knowledge base holds; None where nothing has been imported."""
        ...

    async def match(self, purls: Sequence[str]) -> tuple[list[PackageMatch], Knowledge]:
        """What is known of package URLs, all from one version of the knowledge."""
        ...


@dataclass(frozen=True, slots=True)
class Exposed:
    """Findings of one port, and the version of the knowledge that was asked; empty where none was."""

    findings: tuple[Finding, ...] = ()
    knowledge_version: str = ""


def purl_of(service: Service) -> str:
    """The package URL of what listens; empty where it is no package, or does not say its version."""
    name = _PYPI.get(service.product.lower(), "")
    return f"pkg:pypi/{name}@{service.version}" if name and service.version else ""


class ServiceAdvisor:
    """Asks the knowledge base of what listens on a port."""

    def __init__(self, packages: PackageMatcher) -> None:
        self._packages = packages

    async def look(self, facts: PortFacts, service: Service) -> Exposed:
        """Findings of a port whose banner was read. A scan goes on also where the knowledge cannot be asked."""
        purl = purl_of(service)
        if not purl:
            return Exposed()
        try:
            if await self._packages.knowledge() is None:
                return Exposed()
            (match,), knowledge = await self._packages.match([purl])
        except SecurenetError as error:
            _log.warning("service not matched", purl=purl, error=error.message[:500])
            return Exposed()
        if match.coverage is not Coverage.COVERED:
            return Exposed()
        return Exposed(_findings(facts, service, match), knowledge.version)


def _findings(facts: PortFacts, service: Service, match: PackageMatch) -> tuple[Finding, ...]:
    now = datetime.now(UTC)
    found = []
    for vulnerability in match.vulnerabilities[:_MAX_FINDINGS]:
        identity = f"{facts.address}|{facts.port}|tcp|{vulnerability.id}"
        upgrade = match.upgrade_version
        found.append(
            Finding(
                id=hashlib.sha256(identity.encode()).hexdigest()[:16],
                address=facts.address,
                port=facts.port,
                severity=vulnerability.severity,
                title=f"{service.product} {service.version}: {vulnerability.id} {vulnerability.summary}".rstrip()[:500],
                evidence=facts.banner[:200],
                remedy=f"Upgrade to {upgrade} or later."
                if upgrade
                else "No release mends it yet; limit who reaches it.",
                create_time=now,
                vulnerability=replace(vulnerability, confidence=min(vulnerability.confidence, _CONFIDENCE)),
            )
        )
    return tuple(found)
