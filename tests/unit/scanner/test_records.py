"""Reading OSV records: what is taken, and how a complaint is located."""

from __future__ import annotations

from typing import Any

import pytest

from securenet_scanner.advisories import records
from securenet_scanner.cvss import Severity

pytestmark = pytest.mark.unit


def osv(**changes: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": "Some.Package_X"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2"}]}]
    return {
        "id": "PYSEC-1",
        "modified": "2024-01-01T00:00:00Z",
        "affected": [{"package": package, "ranges": ranges}],
    } | changes


def test_the_name_is_normalised_as_pypi_does() -> None:
    assert records.advisory(osv()).affected[0].name == "some-package-x"


def test_severity_of_the_newest_vector_and_of_the_affected_entry() -> None:
    high = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}
    old = {"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}
    assert records.advisory(osv(severity=[old, high])).score == 9.8
    inside = osv()
    inside["affected"][0]["severity"] = [high]
    assert records.advisory(inside).severity is Severity.CRITICAL


def test_a_stated_word_counts_where_no_vector_can_be_scored() -> None:
    vector = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:H/VA:N/SC:N/SI:N/SA:N"
    record = records.advisory(
        osv(severity=[{"type": "CVSS_V4", "score": vector}], database_specific={"severity": "HIGH"})
    )
    assert (record.severity, record.score, record.vector) == (Severity.HIGH, None, vector)


def test_commits_are_left_out_and_withdrawal_is_seen() -> None:
    record = osv(withdrawn="2024-02-02T00:00:00Z")
    record["affected"][0]["ranges"].append({"type": "GIT", "events": [{"introduced": "0"}]})
    read = records.advisory(record)
    assert read.withdrawn
    assert len(read.affected[0].ranges) == 1


def test_a_record_without_a_package_is_no_error() -> None:
    assert records.advisory(osv(affected=[{"ranges": []}])).affected == ()


def test_details_stand_in_for_a_summary() -> None:
    assert records.advisory(osv(details="# Title here\nMore")).summary == "Title here"


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ([], "expected a JSON object, not an array"),
        ({}, "id: expected a string, not null"),
        (osv(id=7), "id: expected a string, not a number"),
        (osv(id="x" * 300), "id: 300 characters; at most 256"),
        (osv(affected={}), "affected: expected an array, not an object"),
        (osv(affected=[3]), r"affected\[0\]: expected an object, not a number"),
        (osv(affected=[{"package": {"ecosystem": "PyPI"}}]), r"affected\[0\]\.package\.name: expected a string"),
        (osv(aliases=["a", None]), r"aliases\[1\]: expected a string, not null"),
        (
            osv(affected=[{"package": {"ecosystem": "PyPI", "name": "x"}, "ranges": [{"events": [{"fixed": 2}]}]}]),
            r"affected\[0\]\.ranges\[0\]\.events\[0\]\.fixed: expected a string, not a number",
        ),
    ],
)
def test_complaints_say_where(record: object, complaint: str) -> None:
    with pytest.raises(records.BadRecordError, match=complaint):
        records.advisory(record)
