"""What is read of DNS names, against the list's own library, and of names that mean harm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import publicsuffixlist
import pytest

from securenet_detection.behaviours import name_kernels as columns
from securenet_detection.behaviours.names import NameReader, registered
from securenet_detection.behaviours.publicsuffixlist_rules import public_suffixes
from securenet_flows.batch import Dictionary

pytestmark = pytest.mark.unit


@pytest.fixture
def reader() -> NameReader:
    return NameReader(seed=7, suffixes=public_suffixes, local=("corp.acme.com",), reputation=("rep.example.com",))


def known(reader: NameReader, *names: Any) -> Any:
    return reader.known(Dictionary.encode(names))


@pytest.mark.parametrize(
    "name",
    ["www.google.com", "a.b.co.uk", "co.uk", "com", "x.y.kawasaki.jp", "a.city.kawasaki.jp", "city.kawasaki.jp",
     "foo.bar.ck", "a.www.ck", "www.ck", "d1.cloudfront.net", "公司.cn", "x.公司.cn", "a.xn--55qx5d.cn", "b.de",
     "a.b.unknown-tld", "s3.dualstack.us-east-1.amazonaws.com", "x.s3.us-east-1.amazonaws.com", "me.github.io"],
)  # fmt: skip
def test_registered_domains_are_those_of_the_library(reader: NameReader, name: str) -> None:
    row = known(reader, name)[0]
    found = registered(name, int(row[columns.APEX_START])) if row[columns.APEX] else None
    assert found == publicsuffixlist.PublicSuffixList().privatesuffix(name)


def test_names_are_told_apart_whatever_their_case_and_final_dot(reader: NameReader) -> None:
    rows = known(reader, "WWW.Example.ORG", "www.example.org.", "www.example.org", "ww.example.org")
    assert (rows[0] == rows[1]).all()
    assert (rows[1] == rows[2]).all()
    assert rows[3, columns.APEX] == rows[2, columns.APEX]
    assert rows[3, columns.NAME] != rows[2, columns.NAME]


def test_length_and_entropy_are_of_what_stands_before_the_domain(reader: NameReader) -> None:
    row = known(reader, "abcdefghijklmnopqrstuvwxyz234567.t1.example.com")[0]
    assert row[columns.LENGTH] == 35
    text = "abcdefghijklmnopqrstuvwxyz234567.t1"
    shares = [text.count(c) / len(text) for c in set(text)]
    assert row[columns.ENTROPY] == pytest.approx(-1000 * sum(p * math.log2(p) for p in shares), abs=1)


def test_networks_of_ones_own_and_reputation_services_are_marked(reader: NameReader) -> None:
    names = ["srv.corp.acme.com", "printer.local", "4.3.2.1.in-addr.arpa", "router.lan", "a.rep.example.com",
             "4.3.2.1.zen.spamhaus.org", "xcorp.acme.com", "local.evil.com"]  # fmt: skip
    marks = known(reader, *names)[:, columns.FLAGS]
    local, reputation = columns.LOCAL, columns.REPUTATION
    assert marks.tolist() == [local, local, local, local, reputation, reputation, 0, 0]


def test_made_up_labels_score_above_ordinary_ones(reader: NameReader) -> None:
    ordinary = ["www.google.com", "shop.bookstore.co.uk", "mail.nytimes.com", "wikipedia.org", "api.github.com"]
    made_up = ["xjkqwzvbnmtrp.biz", "a.8f3e02bd91c4.info", "qpwlzkxmvhrtb.co.uk", "7f9a1x4kq0z2m8d.com"]
    scores = known(reader, *ordinary, *made_up)[:, columns.SCORE]
    assert (scores[:5] < -1000).all()
    assert (scores[5:] > 1000).all()


def test_hostile_names_are_read_to_a_bound_and_mean_nothing_else(reader: NameReader) -> None:
    nothing = ["", ".", "....", "com", ".com", "..", "a" * 65_536, "." * 65_536, None]
    rows = known(reader, *nothing)
    assert (rows[:, columns.APEX] == 0).all()
    odd = ["x" * 65_536 + ".evil.com", "a." * 40_000 + "evil.com", "\udce4.evil.com", "é" * 70_000 + ".evil.com",
           "a..b.evil.com", "\0.evil.com", "\n" * 300 + ".evil.com"]  # fmt: skip
    rows = known(reader, *odd, "evil.com")
    assert (rows[:, columns.APEX] == rows[-1, columns.APEX]).all()
    assert (rows[:, columns.LENGTH] <= 255).all()
    assert [registered(name, int(row[columns.APEX_START])) for name, row in zip(odd, rows, strict=False)] == [
        "evil.com"
    ] * len(odd)


def test_a_piece_of_a_batch_reads_only_what_its_rows_use(reader: NameReader) -> None:
    whole = Dictionary.encode(f"h{i}.example{i % 7}.com" for i in range(500))
    rows = reader.known(whole)
    for piece in (slice(0, 1), slice(100, 200), slice(499, 500), slice(3, 3)):
        assert (reader.known(whole.take(piece)) == rows[piece]).all()


def test_rows_without_a_name_know_nothing(reader: NameReader) -> None:
    column = Dictionary(np.array([-1, 0, -1], np.int32), ("www.example.com",))
    assert reader.known(column)[:, columns.NAME].astype(bool).tolist() == [False, True, False]


def test_what_is_remembered_of_names_is_what_is_read_of_them(reader: NameReader) -> None:
    few = NameReader(seed=7, suffixes=public_suffixes, local=(), reputation=(), remembered=4)
    batches = [["a.com", "b.co.uk", "a.com"], ["b.co.uk", "c.a.com"], ["d.com", "e.com", "a.com"],
               [f"{at}.example.org" for at in range(6)], ["a.com", "x" * 300 + ".example.org"]]  # fmt: skip
    for batch in batches:
        at_once = few.known(Dictionary(np.arange(len(batch), dtype=np.int32), tuple(batch)))
        assert at_once.tolist() == [known(reader, name)[0].tolist() for name in batch]
        assert len(few._places) <= 4
