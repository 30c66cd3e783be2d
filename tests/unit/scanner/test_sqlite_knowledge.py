"""The knowledge file: built aside, swapped at once, kept for those who read."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from securenet_scanner.advisories.feeds import FeedError, Limits
from securenet_scanner.advisories.importing import ImportStep
from securenet_scanner.advisories.knowledge import KnowledgeFileError
from securenet_scanner.advisories.matching import match_packages
from securenet_scanner.advisories.sqlite_builder import BuildCancelledError, SqliteKnowledgeBuilder
from securenet_scanner.advisories.sqlite_knowledge import SqliteKnowledgeBase

pytestmark = pytest.mark.unit


def record(id_: str, name: str = "x", fixed: str = "2", ecosystem: str = "PyPI", **more: Any) -> dict[str, Any]:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = [
        {"package": {"ecosystem": ecosystem, "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    ]
    return {"id": id_, "modified": "2024-01-01T00:00:00Z", "affected": affected} | more


def write(folder: Path, *records: dict[str, Any], name: str = "osv.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(item) + "\n" for item in records))
    return folder


def build(folder: Path, target: Path, *, validate_only: bool = False) -> list[ImportStep]:
    steps: list[ImportStep] = []
    builder = SqliteKnowledgeBuilder(target, Limits())
    builder.build(folder, str(folder), steps.append, threading.Event(), validate_only=validate_only)
    return steps


def ids(base: SqliteKnowledgeBase, purl: str) -> list[str]:
    with base.reading() as source:
        assert source is not None
        return [item.id for item in match_packages(source, [purl])[0].vulnerabilities]


def test_without_a_file_there_is_nothing(tmp_path: Path) -> None:
    with SqliteKnowledgeBase(tmp_path / "none.sqlite").reading() as source:
        assert source is None


def test_what_is_built_is_matched(tmp_path: Path) -> None:
    feeds = write(
        tmp_path / "feeds",
        record("PYSEC-1", aliases=["CVE-2024-1"]),
        record("PYSEC-2", withdrawn="2024-01-02T00:00:00Z"),
        record("HSEC-1", ecosystem="Hackage"),
    )
    (feeds / "epss-2024-05-06.csv").write_text("cve,epss,percentile\nCVE-2024-1,0.5,0.9\nbroken\n")
    kev = {"catalogVersion": "1", "dateReleased": "2024-02-01T00:00:00Z", "vulnerabilities": [{"cveID": "CVE-2024-1"}]}
    (feeds / "kev.json").write_text(json.dumps(kev))
    steps = build(feeds, tmp_path / "k.sqlite")
    assert steps[-1].rejected == 1
    assert steps[-1].rejections == ("epss-2024-05-06.csv:3: expected CVE,probability,percentile",)
    base = SqliteKnowledgeBase(tmp_path / "k.sqlite")
    with base.reading() as source:
        assert source is not None
        knowledge = source.knowledge
        (found,) = match_packages(source, ["pkg:pypi/x@1"])[0].vulnerabilities
    assert (found.id, found.known_exploited, found.epss) == ("PYSEC-1", True, 0.5)
    assert (knowledge.covered, knowledge.uncovered) == (("PyPI",), ("Hackage",))
    assert [(feed.name, feed.records, feed.rejected) for feed in knowledge.feeds] == [
        ("epss", 1, 1),
        ("kev", 1, 0),
        ("osv:osv", 3, 0),
    ]
    base.close()


def test_the_version_is_a_digest_of_the_content(tmp_path: Path) -> None:
    versions = []
    for number, fixed in enumerate(["2", "2", "3"]):
        target = tmp_path / f"{number}.sqlite"
        build(write(tmp_path / f"feeds{number}", record("A", fixed=fixed)), target)
        with SqliteKnowledgeBase(target).reading() as source:
            assert source is not None
            versions.append(source.knowledge.version)
    assert versions[0] == versions[1] != versions[2]


@pytest.mark.parametrize("order", [("2023", "2024"), ("2024", "2023")])
def test_of_two_records_with_one_id_the_later_counts(tmp_path: Path, order: tuple[str, str]) -> None:
    records = [record("A", fixed="9" if year == "2024" else "2", modified=f"{year}-01-01") for year in order]
    build(write(tmp_path / "feeds", *records), tmp_path / "k.sqlite")
    base = SqliteKnowledgeBase(tmp_path / "k.sqlite")
    assert ids(base, "pkg:pypi/x@8") == ["A"]
    base.close()


def test_bad_records_are_told_and_passed_over(tmp_path: Path) -> None:
    feeds = write(tmp_path / "feeds", record("A"))
    with (feeds / "osv.jsonl").open("a") as file:
        file.write('{"id": 3}\nnot json\n')
    last = build(feeds, tmp_path / "k.sqlite")[-1]
    assert last.rejected == 2
    assert last.rejections[0] == "osv.jsonl:2: id: expected a string, not a number"
    assert last.rejections[1].startswith("osv.jsonl:3: not JSON")


def test_a_broken_feed_leaves_the_old_file_alone(tmp_path: Path) -> None:
    target = tmp_path / "k.sqlite"
    build(write(tmp_path / "feeds", record("OLD")), target)
    write(tmp_path / "feeds", record("NEW"))
    (tmp_path / "feeds" / "broken.jsonl").write_text('{"id": 1, "affected": []}\n')
    with pytest.raises(FeedError, match=r"broken\.jsonl:1: id: expected a string"):
        build(tmp_path / "feeds", target)
    base = SqliteKnowledgeBase(target)
    assert ids(base, "pkg:pypi/x@1") == ["OLD"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".building")] == []
    base.close()


def test_listed_versions_outside_the_ranges_are_kept_and_the_others_are_in_the_ranges(tmp_path: Path) -> None:
    item = record("A")
    item["affected"][0]["versions"] = ["1.0", "1.5", "7.0"]
    build(write(tmp_path / "feeds", item), tmp_path / "k.sqlite")
    base = SqliteKnowledgeBase(tmp_path / "k.sqlite")
    affected = [version for version in ("1.0", "1.5", "2.0", "7.0", "7.1") if ids(base, f"pkg:pypi/x@{version}")]
    assert affected == ["1.0", "1.5", "7.0"]
    with base.reading() as source:
        assert source is not None
        assert match_packages(source, ["pkg:pypi/x@7"])[0].vulnerabilities[0].reason.endswith("listed version: 7.0")
    base.close()


def test_validation_changes_nothing(tmp_path: Path) -> None:
    build(write(tmp_path / "feeds", record("A")), tmp_path / "k.sqlite", validate_only=True)
    assert not (tmp_path / "k.sqlite").exists()


def test_a_build_that_nobody_waits_for_ends(tmp_path: Path) -> None:
    cancelled = threading.Event()
    cancelled.set()
    feeds = write(tmp_path / "feeds", record("A"))
    with pytest.raises(BuildCancelledError):
        SqliteKnowledgeBuilder(tmp_path / "k.sqlite", Limits()).build(feeds, "", lambda _: None, cancelled)
    assert not (tmp_path / "k.sqlite").exists()


def test_a_reader_keeps_its_version_over_a_swap(tmp_path: Path) -> None:
    target = tmp_path / "k.sqlite"
    build(write(tmp_path / "feeds", record("OLD")), target)
    base = SqliteKnowledgeBase(target)
    with base.reading() as before:
        assert before is not None
        build(write(tmp_path / "feeds", record("NEW")), target)
        assert ids(base, "pkg:pypi/x@1") == ["NEW"]
        assert [a.facts.id for a in before.advisories("PyPI", "x")] == ["OLD"]
    assert ids(base, "pkg:pypi/x@1") == ["NEW"]
    base.close()


def test_a_file_that_is_no_knowledge_says_so(tmp_path: Path) -> None:
    (tmp_path / "k.sqlite").write_bytes(b"not a database at all")
    with pytest.raises(KnowledgeFileError, match=r"k\.sqlite"), SqliteKnowledgeBase(tmp_path / "k.sqlite").reading():
        pass
