"""CVSS scores of published vulnerabilities, whose scores NVD and FIRST state."""

from __future__ import annotations

import pytest

from securenet_scanner import cvss
from securenet_scanner.cvss import Severity

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:N/A:N", 3.7),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N/E:U/RL:O", 4.3),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("AV:N/AC:L/Au:N/C:C/I:C/A:C", 10.0),
        ("AV:N/AC:M/Au:N/C:N/I:P/A:N", 4.3),
        ("(AV:N/AC:L/Au:N/C:N/I:N/A:C)", 7.8),
        ("AV:L/AC:H/Au:N/C:N/I:N/A:N", 0.0),
    ],
)
def test_base_scores(vector: str, score: float) -> None:
    assert cvss.parse(vector).base_score == score


def test_a_version_4_vector_is_kept_and_not_scored() -> None:
    vector = cvss.parse("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:H/VA:N/SC:N/SI:N/SA:N")
    assert (vector.version, vector.base_score) == ("4.0", None)


@pytest.mark.parametrize(
    ("vector", "complaint"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", "A is missing"),
        ("CVSS:3.1/AV:Q/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", "AV:Q"),
        ("CVSS:3.1/AV:N/AV:N", "twice"),
        ("CVSS:9.9/AV:N", "9.9"),
        ("7.5", "NAME:VALUE"),
        ("A" * 1000, "1000 characters"),
    ],
)
def test_complaints_name_the_metric(vector: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        cvss.parse(vector)


def test_levels() -> None:
    scores = [0.0, 0.1, 3.9, 4.0, 6.9, 7.0, 8.9, 9.0, 10.0]
    names = [cvss.severity_of_score(score).name for score in scores]
    assert names == ["NONE", "LOW", "LOW", "MEDIUM", "MEDIUM", "HIGH", "HIGH", "CRITICAL", "CRITICAL"]
    assert cvss.severity_of_word("Moderate") is Severity.MEDIUM
    assert cvss.severity_of_word("whatever") is Severity.UNKNOWN
