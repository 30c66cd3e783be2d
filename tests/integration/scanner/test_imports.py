"""Imports: one at a time, from where it is allowed, and the real feeds."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from securenet_core.exceptions import (
    AbortedError,
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    UnavailableError,
)
from securenet_core.principal import LOCAL
from securenet_scanner.advisories.feeds import Limits
from securenet_scanner.advisories.https_feeds import HttpsFeedSource
from securenet_scanner.advisories.importing import ImportPermissions, ImportStep, KnowledgeImports, Teller
from securenet_scanner.advisories.matching import PackageMatch, match_packages
from securenet_scanner.advisories.packages import Packages
from securenet_scanner.advisories.sqlite_builder import SqliteKnowledgeBuilder
from securenet_scanner.advisories.sqlite_knowledge import SqliteKnowledgeBase
from securenet_scanner.scans.scan import AuditEntry

pytestmark = pytest.mark.integration


class FakeAudit:
    """Keeps entries in a list."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def audit(self, entry: AuditEntry) -> None:
        self.entries.append(entry)


class FakeFeedSource:
    """Serves one advisory for any address."""

    def check(self, url: str) -> str:
        return "" if url.startswith("https://feeds.example/") else "not allowed"

    def fetch(self, urls: Sequence[str], folder: Path, tell: Teller, cancelled: threading.Event) -> None:
        for number, _ in enumerate(urls):
            (folder / f"{number}.jsonl").write_text(line("FETCHED"))


def line(id_: str) -> str:
    events = [{"introduced": "0"}, {"fixed": "2"}]
    affected = [{"package": {"ecosystem": "PyPI", "name": "x"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    return json.dumps({"id": id_, "modified": "2024-01-01T00:00:00Z", "affected": affected}) + "\n"


def make(
    folder: Path, permissions: ImportPermissions | None = None, draining: asyncio.Event | None = None
) -> tuple[KnowledgeImports, SqliteKnowledgeBase, FakeAudit]:
    base = SqliteKnowledgeBase(folder / "knowledge.sqlite")
    builder = SqliteKnowledgeBuilder(base.path, Limits())
    audit = FakeAudit()
    allowed = permissions or ImportPermissions((), any_folder=True)
    return (
        KnowledgeImports(base, builder, FakeFeedSource(), allowed, audit, draining=draining or asyncio.Event()),
        base,
        audit,
    )


async def _all(steps: AsyncIterator[ImportStep]) -> list[ImportStep]:
    return [step async for step in steps]


async def run(
    imports: KnowledgeImports, directory: str = "", urls: Sequence[str] = (), **more: bool
) -> list[ImportStep]:
    return await _all(imports.run(LOCAL, directory, urls, validate_only=more.get("validate_only", False)))


def left(folder: Path) -> list[str]:
    """Names of everything that an import could have left behind."""
    return [path.name for path in folder.iterdir() if path.name.startswith("knowledge")]


def feeds(folder: Path, id_: str = "A") -> str:
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text(line(id_))
    return str(folder)


async def test_an_import_ends_with_what_serves_now(tmp_path: Path) -> None:
    imports, base, audit = make(tmp_path)
    steps = await run(imports, feeds(tmp_path / "feeds"))
    assert steps[-1].knowledge is not None
    assert steps[-1].knowledge.covered == ("PyPI",)
    assert [(entry.subject, entry.action) for entry in audit.entries] == [("local", "knowledge.update")]
    matches, knowledge = await Packages(base).match(["pkg:pypi/x@1"])
    assert knowledge.version == steps[-1].knowledge.version
    assert [item.id for item in matches[0].vulnerabilities] == ["A"]


async def test_an_import_is_given_up_when_the_process_ends(tmp_path: Path) -> None:
    draining = asyncio.Event()
    imports, base, _ = make(tmp_path, draining=draining)
    before = (await run(imports, feeds(tmp_path / "feeds", "BEFORE")))[-1].knowledge
    many = tmp_path / "many"
    many.mkdir()
    for number in range(4):
        lines = (line(f"AFTER-{number}-{at}") for at in range(20_000))
        (many / f"{number}.jsonl").write_text("".join(lines))
    steps = imports.run(LOCAL, str(many), (), validate_only=False)
    await anext(steps)
    draining.set()
    with pytest.raises(UnavailableError, match="draining"):
        await _all(steps)
    assert await Packages(base).knowledge() == before
    assert left(tmp_path) == ["knowledge.sqlite"]


async def test_feeds_from_addresses(tmp_path: Path) -> None:
    imports, base, _ = make(tmp_path)
    await run(imports, urls=["https://feeds.example/all.zip"])
    matches, _ = await Packages(base).match(["pkg:pypi/x@1"])
    assert [item.id for item in matches[0].vulnerabilities] == ["FETCHED"]
    with pytest.raises(InvalidArgumentError, match=r"urls\[1\]: not allowed"):
        await run(imports, urls=["https://feeds.example/a", "https://evil.example/a"])


async def test_without_knowledge_nothing_is_claimed(tmp_path: Path) -> None:
    _, base, _ = make(tmp_path)
    packages = Packages(base)
    with pytest.raises(FailedPreconditionError, match="no knowledge has been imported"):
        await packages.match(["pkg:pypi/x@1"])
    assert await packages.knowledge() is None
    base.path.write_bytes(b"garbage" * 1000)
    with pytest.raises(FailedPreconditionError, match="no knowledge base of this version"):
        await packages.match(["pkg:pypi/x@1"])


async def test_unreadable_package_urls_are_named(tmp_path: Path) -> None:
    imports, base, _ = make(tmp_path)
    await run(imports, feeds(tmp_path / "feeds"))
    with pytest.raises(InvalidArgumentError) as caught:
        await Packages(base).match(["pkg:pypi/x@1", "nonsense"])
    assert [violation.field for violation in caught.value.fields] == ["purls[1]"]


async def test_folders_outside_the_roots_are_not_read(tmp_path: Path) -> None:
    inside = feeds(tmp_path / "roots")
    outside = feeds(tmp_path / "outside")
    (tmp_path / "roots" / "link").symlink_to(outside)
    imports, _, _ = make(tmp_path, ImportPermissions((tmp_path / "roots",), any_folder=True))
    await run(imports, inside)
    for directory in (outside, f"{inside}/../outside", f"{inside}/link", "/"):
        with pytest.raises(PermissionDeniedError, match="allowed folders"):
            await run(imports, directory)
    nowhere, _, _ = make(tmp_path, ImportPermissions((), any_folder=False))
    with pytest.raises(PermissionDeniedError, match="knowledge_roots"):
        await run(nowhere, inside)


@pytest.mark.parametrize("directory", ["", "/no/such/folder", "x" * 4096, "a\0b"])
async def test_wrong_folders_are_the_callers_mistake(tmp_path: Path, directory: str) -> None:
    imports, _, _ = make(tmp_path)
    with pytest.raises(InvalidArgumentError):
        await run(imports, directory)


async def test_a_broken_feed_changes_nothing(tmp_path: Path) -> None:
    imports, base, _ = make(tmp_path)
    folder = feeds(tmp_path / "feeds", "OLD")
    await run(imports, folder)
    (tmp_path / "feeds" / "b.jsonl").write_text("{oops\n")
    with pytest.raises(FailedPreconditionError, match=r"b\.jsonl:1: not JSON.*still serves"):
        await run(imports, folder)
    matches, _ = await Packages(base).match(["pkg:pypi/x@1"])
    assert [item.id for item in matches[0].vulnerabilities] == ["OLD"]


async def test_one_import_at_a_time(tmp_path: Path) -> None:
    imports, _, _ = make(tmp_path)
    folder = feeds(tmp_path / "feeds")
    first = imports.run(LOCAL, folder, (), validate_only=False)
    await anext(first)
    with pytest.raises(AbortedError):
        await run(imports, folder)
    async for _ in first:
        pass
    await run(imports, folder)


async def test_swaps_under_load_fail_no_match_and_mix_no_versions(tmp_path: Path) -> None:
    imports, base, _ = make(tmp_path)
    packages = Packages(base)
    versions: dict[str, str] = {}
    for id_ in ("ODD", "EVEN"):
        last = (await run(imports, feeds(tmp_path / "feeds", id_)))[-1]
        assert last.knowledge is not None
        versions[last.knowledge.version] = id_
    stop = asyncio.Event()
    seen: set[str] = set()

    async def ask() -> None:
        while not stop.is_set():
            matches, knowledge = await packages.match(["pkg:pypi/x@1"] * 20)
            assert {item.id for match in matches for item in match.vulnerabilities} == {versions[knowledge.version]}
            seen.add(knowledge.version)

    askers = [asyncio.create_task(ask()) for _ in range(4)]
    for id_ in ("ODD", "EVEN", "ODD", "EVEN"):
        await run(imports, feeds(tmp_path / "feeds", id_))
    stop.set()
    await asyncio.gather(*askers)
    assert seen == set(versions)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://www.cisa.gov/kev.json", "expected https"),
        ("https://user@www.cisa.gov/x", "expected https"),
        ("https://evil.example/x", "not allowed"),
        ("https://www.cisa.gov:8443/x", "not allowed"),
        ("https://[::1", "no address"),
        ("file:///etc/passwd", "expected https"),
        ("https://www.cisa.gov/kev.json", ""),
    ],
)
def test_only_named_hosts_over_https(url: str, complaint: str) -> None:
    problem = HttpsFeedSource(("www.cisa.gov",), 1 << 20, 1.0).check(url)
    assert complaint in problem
    assert bool(problem) is bool(complaint)


@pytest.mark.slow
def test_the_real_feeds(shared_data: Path, tmp_path: Path) -> None:
    steps: list[ImportStep] = []
    base = SqliteKnowledgeBase(tmp_path / "knowledge.sqlite")
    builder = SqliteKnowledgeBuilder(base.path, Limits())
    builder.build(shared_data / "vulns", "shared", steps.append, threading.Event())
    assert steps[-1].rejected == 0
    with base.reading() as source:
        assert source is not None
        assert {"PyPI", "Go", "crates.io"} <= set(source.knowledge.covered)
        assert {"AlmaLinux", "Hackage"} <= set(source.knowledge.uncovered)
        counts = {feed.name: feed.records for feed in source.knowledge.feeds if feed.records}
        assert (counts["osv:PyPI"], counts["osv:Go"], counts["epss"], counts["kev"]) == (7080, 4291, 360142, 1674)
        found = match_packages(
            source,
            [
                "pkg:pypi/django@3.2.0",
                "pkg:pypi/jinja2@2.4.1",
                "pkg:golang/github.com/gin-gonic/gin@v1.5.0",
                "pkg:deb/debian/bash@5",
            ],
        )
    django, jinja, gin, bash = found
    assert {"CVE-2021-33203", "CVE-2022-34265"} <= names(django)
    assert {"CVE-2014-1402", "CVE-2016-10745"} <= names(jinja)
    assert jinja.upgrade_version == "3.1.6"
    assert {"GO-2020-0001", "CVE-2020-36567"} <= names(gin)
    assert bash.vulnerabilities == ()
    assert "not clean" in bash.detail
    base.close()


def names(match: PackageMatch) -> set[str]:
    return {name for item in match.vulnerabilities for name in (item.id, *item.aliases)}
