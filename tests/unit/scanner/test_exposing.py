"""What listens, asked of the knowledge base: which products are packages, and what happens where it cannot be asked."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from securenet_core.exceptions import FailedPreconditionError, SecurenetError
from securenet_scanner.advisories.knowledge import Knowledge
from securenet_scanner.advisories.matching import Coverage, PackageMatch
from securenet_scanner.network.banners import Banner
from securenet_scanner.network.connecting import PortState
from securenet_scanner.network.services import Service, identify
from securenet_scanner.scans.exposing import Exposed, ServiceAdvisor, purl_of
from securenet_scanner.scans.scan import PortFacts

pytestmark = pytest.mark.unit

KNOWLEDGE = Knowledge("v1", datetime.now(UTC), None, (), ("PyPI",), ())
FACTS = PortFacts("127.0.0.1", 80, PortState.OPEN)


class FakePackages:
    """Knows nothing bad of anything; or refuses."""

    def __init__(self, coverage: Coverage = Coverage.COVERED, refuses: SecurenetError | None = None) -> None:
        self.coverage = coverage
        self.refuses = refuses

    async def knowledge(self) -> Knowledge | None:
        return KNOWLEDGE

    async def match(self, purls: Sequence[str]) -> tuple[list[PackageMatch], Knowledge]:
        if self.refuses is not None:
            raise self.refuses
        return [PackageMatch(purls[0], self.coverage, "", (), "")], KNOWLEDGE


@pytest.mark.parametrize(
    ("server", "purl"),
    [
        ("gunicorn/19.9.0", "pkg:pypi/gunicorn@19.9.0"),
        ("Werkzeug/2.0.0 Python/3.9.2", "pkg:pypi/werkzeug@2.0.0"),
        ("TornadoServer/6.0.1", "pkg:pypi/tornado@6.0.1"),
        ("gunicorn", ""),
        ("nginx/1.18.0", ""),
    ],
)
def test_which_servers_are_packages(server: str, purl: str) -> None:
    banner = Banner(f"HTTP/1.1 200 OK\r\nServer: {server}\r\n\r\n".encode(), "http", tls=False)
    assert purl_of(identify(banner)) == purl


async def test_clean_is_matched_all_the_same() -> None:
    service = Service("http", "gunicorn", "23.0.0")
    assert await ServiceAdvisor(FakePackages()).look(FACTS, service) == Exposed((), "v1")


@pytest.mark.parametrize(
    "packages",
    [
        FakePackages(Coverage.VERSION_NOT_COMPARABLE),
        FakePackages(refuses=FailedPreconditionError("the file is broken", reason="KNOWLEDGE_UNUSABLE")),
    ],
)
async def test_what_could_not_be_matched_does_not_say_so(packages: FakePackages) -> None:
    assert await ServiceAdvisor(packages).look(FACTS, Service("http", "gunicorn", "23.0.0")) == Exposed()
