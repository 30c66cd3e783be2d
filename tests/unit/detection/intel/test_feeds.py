"""Feeds in every format: what is read, what is left out, and where it is said."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from securenet_detection.intel.columns import FeedTooLargeError
from securenet_detection.intel.feeds import Limits
from securenet_detection.intel.indicators import BELOW, EXACT, IndicatorKind
from securenet_detection.intel.stix_pattern import PatternError, alternatives

pytestmark = pytest.mark.unit


def test_a_list_with_comments_counts_and_mistakes(reads: Any, shown: Any) -> None:
    document = reads(
        "\ufeff# Last update: Sat, 22 Aug 2026 03:00:29 +0200\n; Licence: CC0\n\n203.0.113.9\t1\n203.0.113.10 8\r\n"
        "198.51.100.0/24 ; SBL1\n0.0.0.0 bad.example\n127.0.0.1 localhost\n||ad.example^\nfoo bar baz\nnonsense\n"
    )
    assert document.format == "list"
    assert shown(document) == ["203.0.113.9", "203.0.113.10", "198.51.100.0/24", "bad.example", "ad.example"]
    assert document.columns.confidence.tolist() == [55, 90, 80, 80, 80]
    assert [rejection.place for rejection in document.rejections] == ["line 10", "line 11"]
    assert document.ignored == {"a hosts file's own names": 1}
    assert (document.data_time, document.licence) == (1_787_360_429, "CC0")


def test_counts_do_not_outdo_what_the_caller_says(reads: Any) -> None:
    assert reads("203.0.113.9 8\n", confidence=20).columns.confidence.tolist() == [20]


def test_csv_by_its_header(reads: Any, shown: Any) -> None:
    document = reads(
        "first_seen_utc,dst_ip,dst_port,c2_status,confidence,malware,mitre,expires\n"
        '2026-01-02 03:04:05,203.0.113.9,443,online,75,"Some, Bot",T1071.001,2026-06-01\n'
        "2026-01-02,nonsense,443,online,75,Bot,,\n"
        "2026-01-02,203.0.113.10:8080,443\n"
    )
    assert document.format == "csv"
    assert shown(document) == ["203.0.113.9", "203.0.113.10"]
    columns = document.columns
    assert columns.confidence.tolist() == [75, 80]
    assert document.labels[columns.label[0] - 1] == "Some, Bot"
    assert document.techniques[columns.technique[0] - 1].id == "T1071.001"
    assert int(columns.listed[0]) == 1_767_323_045
    assert int(columns.until[0]) == 1_780_272_000
    assert [rejection.place for rejection in document.rejections] == ["line 3"]


def test_csv_with_a_type_column_and_a_header_in_a_comment(reads: Any, shown: Any) -> None:
    document = reads(
        '# feed of somebody\n# "first_seen","ioc_id","ioc_value","ioc_type","confidence_level"\n'
        '"2026-01-02 00:00:00","17","203.0.113.9:4444","ip:port","100"\n'
        '"2026-01-02 00:00:00","18","evil.example","domain","50"\n'
        '"2026-01-02 00:00:00","19","00dbb9e1c09dbdafb360f3163ba5a3de","md5_hash","50"\n'
    )
    assert shown(document) == ["203.0.113.9", "evil.example"]
    assert document.columns.identity(1) == "18"
    assert document.ignored == {"md5_hash is nothing that flows show": 1}


def test_csv_of_fingerprints(reads: Any) -> None:
    document = reads("ja3_md5,Firstseen,Listingreason\n" + "b" * 32 + ",2026-01-01,Bot\n")
    assert document.columns.kind.tolist() == [IndicatorKind.JA3]


def indicator(number: int, pattern: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "indicator", "spec_version": "2.1", "id": f"indicator--{number}", "created": "2026-01-01T00:00:00Z",
        "modified": "2026-01-01T00:00:00Z", "pattern": pattern, "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z", **more,
    }  # fmt: skip


def test_stix(reads: Any, shown: Any) -> None:
    attack = {
        "type": "attack-pattern", "id": "attack-pattern--1", "name": "Web Protocols",
        "external_references": [{"source_name": "mitre-attack", "external_id": "T1071.001"}],
        "kill_chain_phases": [{"kill_chain_name": "mitre-attack", "phase_name": "command-and-control"}],
    }  # fmt: skip
    relation = {
        "type": "relationship", "id": "relationship--1", "relationship_type": "indicates",
        "source_ref": "indicator--1", "target_ref": "attack-pattern--1",
    }  # fmt: skip
    objects = [
        indicator(1, "[ipv4-addr:value = '203.0.113.9' OR ipv4-addr:value = '198.51.100.0/24']", confidence=70,
                  valid_until="2026-02-01T00:00:00Z", name="C2"),
        indicator(2, "[domain-name:value = 'evil.example']", revoked=True),
        indicator(3, "[file:hashes.'SHA-256' = 'aa']"),
        indicator(4, "[domain-name:value MATCHES '.*']"),
        indicator(5, "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '203.0.113.10']"),
        indicator(6, "[domain-name:value = 'old.example']"),
        indicator(6, "[domain-name:value = 'new.example']", modified="2026-01-05T00:00:00Z"),
        indicator(7, "[domain-name:value LIKE '%.below.example']"),
        indicator(8, "rule", pattern_type="yara"), attack, relation, "nonsense",
    ]  # fmt: skip
    document = reads(json.dumps({"type": "bundle", "id": "bundle--1", "objects": objects}))
    assert document.format == "stix"
    assert shown(document) == [
        "203.0.113.9", "198.51.100.0/24", "203.0.113.10", "new.example", "*.below.example",
    ]  # fmt: skip
    columns = document.columns
    assert columns.confidence.tolist()[:3] == [70, 70, 80]
    assert (int(columns.since[0]), int(columns.until[0])) == (1_767_225_600, 1_769_904_000)
    technique = document.techniques[columns.technique[0] - 1]
    assert (technique.id, technique.name, technique.tactic) == ("T1071.001", "Web Protocols", "Command and Control")
    assert columns.identity(0) == "indicator--1"
    assert columns.flags.tolist()[-1] == BELOW
    assert sorted(rejection.place for rejection in document.rejections) == ["objects[11]", "objects[3].pattern"]
    assert document.ignored["revoked"] == 1


@pytest.mark.parametrize(
    "pattern",
    [
        "", "[", "[]", "[ipv4-addr:value]", "[ipv4-addr:value = ]", "[ipv4-addr:value = '1' AND url:value = '2']",
        "[NOT ipv4-addr:value = '1']", "[ipv4-addr:value = '1'] AND [url:value = '2']",
        "[ipv4-addr:value = '1'] FOLLOWEDBY [url:value = '2']", "[ipv4-addr:value = '1'] REPEATS 5 TIMES",
        "[ipv4-addr:value > '1']", "(" * 100, "[" + "(" * 100, "[ipv4-addr:value = '1", "x" * 70_000,
        "[domain-name:value LIKE '%evil%']", "[ipv4-addr:value IN ('1', ]",
    ],
)  # fmt: skip
def test_a_pattern_that_asks_for_more_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        alternatives(pattern)


def test_patterns_in_several_observations() -> None:
    found = alternatives(r"([a:b = 'it\'s'] OR [a:b IN ('x', 'y')]) OR [c:d ISSUBSET '10.0.0.0/8']")
    assert [(one.path, one.value) for one in found] == [
        ("a:b", "it's"), ("a:b", "x"), ("a:b", "y"), ("c:d", "10.0.0.0/8"),
    ]  # fmt: skip


def test_misp(reads: Any, shown: Any) -> None:
    def attribute(kind: str, value: Any, *, to_ids: Any = True, **more: Any) -> dict[str, Any]:
        return {"type": kind, "value": value, "to_ids": to_ids, "uuid": "u", "timestamp": "1767225600", **more}

    event = {
        "info": "A campaign", "date": "2026-01-01",
        "Tag": [{"name": 'misp-galaxy:mitre-attack-pattern="Web Protocols - T1071.001"'}],
        "Attribute": [
            attribute("ip-dst", "203.0.113.9", Tag=[{"name": 'misp:confidence-level="fairly-confident"'}]),
            attribute("ip-dst|port", "203.0.113.10|443"), attribute("hostname", "www.evil.example"),
            attribute("domain|ip", "evil.example|203.0.113.11"), attribute("ip-src", "203.0.113.12", to_ids=False),
            attribute("md5", "b" * 32), attribute("ip-dst", 5), attribute("domain", "gone.example", deleted=True), 7,
        ],
        "Object": [{"name": "x", "Attribute": [attribute("url", "http://evil.example/x")]}, None],
    }  # fmt: skip
    document = reads(json.dumps({"response": [{"Event": event}, None]}))
    assert document.format == "misp"
    assert shown(document) == [
        "203.0.113.9", "203.0.113.10", "www.evil.example", "evil.example", "203.0.113.11", "evil.example/x",
    ]  # fmt: skip
    assert document.columns.confidence.tolist()[:2] == [50, 80]
    assert document.columns.flags.tolist()[2] == EXACT
    assert document.techniques[document.columns.technique[0] - 1].id == "T1071.001"
    assert document.labels == ("A campaign",)
    assert document.rejected == 4


def test_warning_lists(reads: Any, shown: Any) -> None:
    listed = {"name": "n", "version": 1, "type": "hostname", "list": ["example.com", ".example.net", 3]}
    document = reads(json.dumps(listed), warning_list=True)
    assert (document.format, shown(document), document.rejected) == (
        "misp-warninglist", ["example.com", "example.net"], 1,
    )  # fmt: skip
    assert reads(json.dumps({**listed, "type": "string"}), warning_list=True).columns.flags.tolist() == [EXACT, 0]
    assert reads(json.dumps({**listed, "type": "regex"}), warning_list=True).rejected == 1


def test_gzip_utf16_and_json_lists(reads: Any, shown: Any) -> None:
    assert shown(reads(gzip.compress(b"203.0.113.9\n") + gzip.compress(b"203.0.113.10\n"))) == [
        "203.0.113.9", "203.0.113.10",
    ]  # fmt: skip
    assert reads(gzip.compress(b"203.0.113.9\n")[:-4]).rejected == 1
    assert shown(reads("203.0.113.9\n".encode("utf-16"))) == ["203.0.113.9"]
    assert shown(reads('["203.0.113.9", "evil.example"]')) == ["203.0.113.9", "evil.example"]


@pytest.mark.parametrize(
    "content", ["<xml/>", "{", "[" * 100_000, '{"a": 1}', "[1, 2]", '{"objects": 3, "type": "bundle", "id": "b"}']
)
def test_a_document_that_is_nothing_is_one_rejection(reads: Any, content: str) -> None:
    document = reads(content)
    assert not len(document.columns)
    assert document.rejected >= 1


def test_bounds(reads: Any) -> None:
    limits = Limits(max_bytes=100, max_json_bytes=50, max_indicators=2)
    for content in (b"#" * 101, gzip.compress(b"#" * 10_000), b"[" + b" " * 60 + b"]", b"203.0.113.9\n" * 3):
        with pytest.raises(FeedTooLargeError):
            reads(content, limits)
