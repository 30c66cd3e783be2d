"""Zeek's logs in JSON and Suricata's EVE."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from securenet_flows import FlowBatch, open_capture
from securenet_flows.batch import CONN_STATES
from securenet_flows.report import ReadReport

pytestmark = pytest.mark.unit

CONN: dict[str, object] = {
    "ts": 1600000000.123456,
    "uid": "C1",
    "id.orig_h": "192.0.2.1",
    "id.orig_p": 51000,
    "id.resp_h": "2001:db8::7",
    "id.resp_p": 443,
    "proto": "tcp",
    "service": "ssl",
    "duration": 0.0012309551239013672,
    "orig_bytes": 100,
    "conn_state": "SF",
    "local_orig": True,
}


def read(tmp_path: Path, *lines: object) -> tuple[FlowBatch, ReadReport]:
    path = tmp_path / "log.json"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    capture = open_capture(path)
    return FlowBatch.concatenate(list(capture)), capture.report


def test_every_key_fills_its_column(tmp_path: Path) -> None:
    batch, report = read(tmp_path, CONN, {**CONN, "uid": "C2", "service": "", "orig_bytes": None})
    assert report.bad_records == 0
    assert batch.start_time_ns.tolist() == [1_600_000_000_123_456_000] * 2
    assert batch.number("duration_ns").tolist() == [1_230_955] * 2
    assert batch.number("src_port").tolist() == [51000, 51000]
    assert batch.has("orig_bytes").tolist() == [True, False]
    assert batch.texts("service").decode() == ["ssl", None]
    assert batch.number("local_orig").tolist() == [True, True]
    assert "resp_bytes" not in batch.numeric


@pytest.mark.parametrize(
    "when", ["2020-09-13T12:26:40.123456Z", "2020-09-13T12:26:40.123456+0000", "1600000000.123456"]
)
def test_times_as_texts(tmp_path: Path, when: str) -> None:
    batch, _ = read(tmp_path, {**CONN, "ts": when}, {**CONN, "ts": when})
    assert batch.start_time_ns.tolist() == [1_600_000_000_123_456_000] * 2


def test_the_spelling_of_other_tools(tmp_path: Path) -> None:
    other = {key.replace("id.", "id_"): value for key, value in CONN.items()}
    batch, report = read(tmp_path, CONN, other)
    assert report.bad_records == 0
    assert batch.number("dst_port").tolist() == [443, 443]


def test_bad_lines_cost_themselves_alone(tmp_path: Path) -> None:
    batch, report = read(
        tmp_path,
        CONN,
        '{"ts": 16000',
        "",
        "[1]",
        {**CONN, "id.orig_p": 93145},
        {**CONN, "duration": -1},
        {**CONN, "proto": None},
        {**CONN, "uid": "C9", "id.orig_p": "80", "orig_bytes": 12.0},
    )
    assert batch.texts("flow_id").decode() == ["C1", "C9"]
    assert batch.number("src_port").tolist() == [51000, 80]
    assert batch.number("orig_bytes").tolist() == [100, 12]
    assert [error.line for error in report.errors] == [2, 3, 4, 5, 6, 7]
    assert report.errors[3].reason.startswith("id.orig_p: '93145'; expected")


def test_one_bad_line_changes_nothing_for_the_others(tmp_path: Path) -> None:
    alone, _ = read(tmp_path, CONN)
    beside, _ = read(tmp_path, CONN, "{")
    assert alone.start_time_ns.tolist() == beside.start_time_ns.tolist()
    assert alone.number("duration_ns").tolist() == beside.number("duration_ns").tolist()


def test_hostile_json(tmp_path: Path) -> None:
    deep = '{"ts":' + "[" * 100_000 + "]" * 100_000 + "}"
    digits = '{"ts":' + "9" * 10_000 + "}"
    half = json.dumps({**CONN, "service": "\ud800"})
    batch, report = read(tmp_path, CONN, deep, digits, '{"ts": NaN}', half)
    assert len(batch) == 2
    assert batch.texts("service").decode() == ["ssl", "?"]
    assert [error.line for error in report.errors] == [2, 3, 4]


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "conn.json"
    lines = [json.dumps(CONN), json.dumps({**CONN, "id.orig_h": "192.0.2.@"}), json.dumps({**CONN, "service": "caf@"})]
    path.write_bytes(("\n".join(lines) + "\n").encode().replace(b"@", b"\xe9"))
    capture = open_capture(path)
    assert FlowBatch.concatenate(list(capture)).texts("service").decode() == ["ssl", "café"]
    assert [error.line for error in capture.report.errors] == [2]


def test_labels_count_from_the_first_record_that_has_one(tmp_path: Path) -> None:
    _, report = read(tmp_path, CONN, {**CONN, "label": "Benign"}, CONN)
    assert [error.line for error in report.label_errors] == [3]


def test_records_without_an_identifier_get_one(tmp_path: Path) -> None:
    batch, _ = read(tmp_path, CONN, {**CONN, "uid": ""}, {**CONN, "uid": None})
    assert batch.texts("flow_id").decode() == ["C1", "line-2", "line-3"]


def test_labels(tmp_path: Path) -> None:
    batch, report = read(tmp_path, {**CONN, "label": "Malicious"}, CONN)
    assert batch.texts("label").decode() == ["malicious", None]
    assert [error.line for error in report.label_errors] == [2]


def test_a_dns_log_alone_gives_flows(tmp_path: Path) -> None:
    batch, _ = read(
        tmp_path,
        {
            "ts": 1.5,
            "uid": "C1",
            "id.orig_h": "192.0.2.1",
            "id.resp_h": "192.0.2.2",
            "proto": "udp",
            "trans_id": 1,
            "query": "example.org",
            "qtype_name": "A",
            "rcode_name": "NOERROR",
            "answers": ["192.0.2.9", "192.0.2.8"],
        },
    )
    assert batch.texts("dns_query").decode() == ["example.org"]
    assert batch.number("dns_answer_count").tolist() == [2]
    assert batch.texts("service").decode() == ["dns"]
    assert "orig_bytes" not in batch.numeric


FLOW: dict[str, object] = {
    "timestamp": "2020-09-13T12:26:45.000000+0000",
    "flow_id": 1234567890123456,
    "event_type": "flow",
    "src_ip": "192.0.2.1",
    "src_port": 51000,
    "dest_ip": "192.0.2.7",
    "dest_port": 80,
    "proto": "TCP",
    "app_proto": "http",
    "flow": {
        "pkts_toserver": 5,
        "pkts_toclient": 4,
        "bytes_toserver": 500,
        "bytes_toclient": 4000,
        "start": "2020-09-13T12:26:40.000000+0000",
        "end": "2020-09-13T12:26:41.250000+0000",
    },
    "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b", "state": "closed"},
}
HTTP = {
    "timestamp": "2020-09-13T12:26:40.500000+0000",
    "flow_id": 1234567890123456,
    "event_type": "http",
    "http": {"hostname": "example.org", "url": "/x", "http_method": "GET", "status": 200, "http_user_agent": "curl"},
}


def test_eve_flows_with_what_their_events_said(tmp_path: Path) -> None:
    udp = {**FLOW, "flow_id": 2, "proto": "UDP", "app_proto": "failed", "tcp": None}
    batch, report = read(tmp_path, HTTP, {"timestamp": "x", "event_type": "stats"}, FLOW, udp)
    assert report.bad_records == 0
    assert batch.texts("flow_id").decode() == ["1234567890123456", "2"]
    assert batch.start_time_ns[0] == 1_600_000_000_000_000_000
    assert batch.number("duration_ns").tolist() == [1_250_000_000] * 2
    assert batch.number("resp_ip_bytes").tolist() == [4000, 4000]
    assert batch.texts("http_host").decode() == ["example.org", None]
    assert batch.number("http_status_code").tolist() == [200, 0]
    assert batch.texts("service").decode() == ["http", None]
    assert [CONN_STATES[int(state)] for state in batch.number("conn_state")] == ["SF", "SF"]
    assert "label" not in batch.text


def test_eve_dns_of_each_version(tmp_path: Path) -> None:
    dns = [
        {
            "event_type": "dns",
            "timestamp": "x",
            "flow_id": 1,
            "dns": {"type": "query", "rrname": "a.org", "rrtype": "A"},
        },
        {"event_type": "dns", "timestamp": "x", "flow_id": 1, "dns": {"type": "answer", "rcode": "NXDOMAIN"}},
        {
            "event_type": "dns",
            "timestamp": "x",
            "flow_id": 2,
            "dns": {"queries": [{"rrname": "b.org", "rrtype": "TXT"}]},
        },
    ]
    batch, _ = read(tmp_path, *dns, {**FLOW, "flow_id": 1}, {**FLOW, "flow_id": 2})
    assert batch.texts("dns_query").decode() == ["a.org", "b.org"]
    assert batch.texts("dns_query_type").decode() == ["A", "TXT"]
    assert batch.texts("dns_response_code").decode() == ["NXDOMAIN", None]


def test_eve_bad_records(tmp_path: Path) -> None:
    batch, report = read(
        tmp_path,
        FLOW,
        {**FLOW, "flow": None},
        {**FLOW, "src_ip": "nowhere"},
        {**FLOW, "flow": {"start": "2020-09-13T12:26:40Z", "end": "2020-09-13T12:26:39Z"}},
        {**FLOW, "event_type": 7},
        "{",
    )
    assert len(batch) == 1
    assert [error.line for error in report.errors] == [2, 3, 4, 5, 6]


def test_eve_without_flow_events_says_so(tmp_path: Path) -> None:
    path = tmp_path / "eve.json"
    path.write_text(json.dumps(HTTP) + "\n")
    capture = open_capture(path)
    assert list(capture) == []
    assert "no flow events" in capture.report.notes[0]
