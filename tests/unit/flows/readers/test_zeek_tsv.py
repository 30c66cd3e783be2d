"""Zeek's own notation and what happens to it on its way: columns moved, missing, doubled, lines cut, bytes changed."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from securenet_flows import FlowBatch, RecordError, UnreadableFileError, read_flows
from securenet_flows.report import ReadReport

pytestmark = pytest.mark.unit

FIELDS = [
    "ts",
    "uid",
    "id.orig_h",
    "id.orig_p",
    "id.resp_h",
    "id.resp_p",
    "proto",
    "service",
    "duration",
    "orig_bytes",
    "resp_bytes",
    "conn_state",
    "local_orig",
    "local_resp",
    "missed_bytes",
    "history",
    "orig_pkts",
    "orig_ip_bytes",
    "resp_pkts",
    "resp_ip_bytes",
    "tunnel_parents",
]
FIRST = (
    "1600000000.123456 C1 10.0.0.1 51000 192.0.2.7 443 tcp ssl 1.5 100 2000 SF T F 0 ShADadFf 10 620 12 2624 (empty)"
)
SECOND = "1600000001.000001 C2 fe80::1 5353 ff02::fb 5353 udp dns - - - S0 - - 0 D 1 73 0 0 -"
PING = "3.25 C3 fe80::1 128 fe80::2 129 icmp - 0.000001 8 8 OTH - - 0 - 1 56 1 56 -"


def log(*rows: str, fields: list[str] = FIELDS, head: str = "#separator \\x09\n#path\tconn\n") -> bytes:
    body = "".join("\t".join(row.split(" ")) + "\n" for row in rows)
    return (head + "#fields\t" + "\t".join(fields) + "\n" + body).encode()


def read(tmp_path: Path, content: bytes, **options: object) -> tuple[FlowBatch | None, ReadReport]:
    path = tmp_path / "some.log"
    path.write_bytes(content)
    stream = read_flows(path, **options)  # type: ignore[arg-type]
    batches = list(stream)
    return FlowBatch.concatenate(batches) if batches else None, stream.report


def flows(tmp_path: Path, content: bytes) -> FlowBatch:
    batch, report = read(tmp_path, content)
    assert report.bad_records == 0, report.errors
    assert batch is not None
    return batch


def test_every_field_fills_its_column(tmp_path: Path) -> None:
    batch = flows(tmp_path, log(FIRST, SECOND))
    assert batch.start_time_ns.tolist() == [1_600_000_000_123_456_000, 1_600_000_001_000_001_000]
    assert batch.src_addr[0].tolist() == [0] * 10 + [255, 255, 10, 0, 0, 1]
    assert batch.dst_addr[1].tolist() == [0xFF, 2, *[0] * 13, 0xFB]
    assert batch.protocol.tolist() == [6, 17]
    assert batch.number("duration_ns").tolist() == [1_500_000_000, 0]
    assert batch.has("duration_ns").tolist() == [True, False]
    assert batch.number("dst_port").tolist() == [443, 5353]
    assert batch.number("resp_ip_bytes").tolist() == [2624, 0]
    assert batch.number("conn_state").tolist() == [3, 1]
    assert batch.number("local_orig").tolist() == [True, False]
    assert batch.has("local_orig").tolist() == [True, False]
    assert batch.texts("service").decode() == ["ssl", "dns"]
    assert batch.texts("flow_id").decode() == ["C1", "C2"]
    assert batch.texts("history").decode() == ["ShADadFf", "D"]
    assert "label" not in batch.text


def test_icmp_between_ipv6_addresses_is_icmpv6(tmp_path: Path) -> None:
    assert flows(tmp_path, log(PING)).protocol.tolist() == [58]


def test_times_near_1970_are_times(tmp_path: Path) -> None:
    assert flows(tmp_path, log(PING)).start_time_ns.tolist() == [3_250_000_000]


def test_columns_in_another_order_and_unknown_ones(tmp_path: Path) -> None:
    content = log(
        "x tcp 192.0.2.7 443 10.0.0.1 51000 5.0",
        fields=["new", "proto", "id.resp_h", "id.resp_p", "id.orig_h", "id.orig_p", "ts"],
    )
    batch = flows(tmp_path, content)
    assert batch.number("dst_port").tolist() == [443]
    assert batch.texts("flow_id").decode() == ["line-4"]
    assert "conn_state" not in batch.numeric


def test_fields_that_change_midway(tmp_path: Path) -> None:
    later = log("9.0 C9 10.0.0.9 192.0.2.9 udp", fields=["ts", "uid", "id.orig_h", "id.resp_h", "proto"], head="")
    batch = flows(tmp_path, log(FIRST) + later)
    assert batch.texts("flow_id").decode() == ["C1", "C9"]
    assert batch.has("dst_port").tolist() == [True, False]


def test_another_separator_and_other_nulls(tmp_path: Path) -> None:
    head = "#separator \\x7c\n#unset_field\tNULL\n#path\tconn\n"
    row = " ".join("NULL" if value == "-" else value for value in SECOND.split(" "))
    batch = flows(tmp_path, log(FIRST, row, head=head).replace(b"\t", b"|"))
    assert batch.has("duration_ns").tolist() == [True, False]


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_a_truncated_last_line_is_a_bad_record(tmp_path: Path, ending: bytes) -> None:
    content = log(FIRST, SECOND)
    batch, report = read(tmp_path, content[: content.index(b"dns")] + ending)
    assert batch is not None
    assert len(batch) == 1
    assert [(error.line, error.reason) for error in report.errors] == [(5, "8 fields; expected 21")]


def test_a_last_line_that_only_lacks_its_line_feed_is_read(tmp_path: Path) -> None:
    assert len(flows(tmp_path, log(FIRST, SECOND)[:-1])) == 2


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("duration", "-0.5", "duration: '-0.5'; expected seconds, not negative"),
        ("duration", "nan", "duration: 'nan'; expected seconds, not negative"),
        ("ts", "yesterday", "ts: 'yesterday'; expected seconds since 1970"),
        ("ts", "-", "ts: nothing; expected seconds since 1970"),
        ("id.orig_p", "65536", "id.orig_p: '65536'; expected a whole number from 0 to 65535"),
        ("id.resp_h", "10.0.0.256", "id.resp_h: '10.0.0.256'; expected an IP address"),
        ("id.resp_h", "10.0.0.01", "id.resp_h: '10.0.0.01'; expected an IP address"),
        ("orig_bytes", "-1", "orig_bytes: '-1'; expected a whole number"),
        ("orig_bytes", "9223372036854775808", "orig_bytes: '9223372036854775808'; expected a whole number"),
        ("conn_state", "XX", "conn_state: 'XX'; expected one of Zeek's"),
        ("local_orig", "perhaps", "local_orig: 'perhaps'; expected T or F"),
    ],
)
def test_a_wrong_value_costs_its_record_alone(tmp_path: Path, field: str, value: str, reason: str) -> None:
    row = FIRST.split(" ")
    row[FIELDS.index(field)] = value
    batch, report = read(tmp_path, log(SECOND, " ".join(row), PING))
    assert batch is not None
    assert batch.texts("flow_id").decode() == ["C2", "C3"]
    assert report.bad_records == 1
    assert report.errors[0].line == 5
    assert report.errors[0].reason.startswith(reason)
    assert batch.number("orig_pkts").tolist() == [1, 1]


def test_strict_stops_at_the_first_bad_record(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"some.log:4: 1 fields; expected 21"):
        read(tmp_path, log("short", FIRST), strict=True)


def test_a_listener_hears_of_each(tmp_path: Path) -> None:
    heard: list[Exception] = []
    read(tmp_path, log("short", FIRST, "short"), on_error=heard.append)
    assert [error.line for error in heard if isinstance(error, RecordError)] == [4, 6]


def test_without_header_the_default_fields_are_taken_and_said(tmp_path: Path) -> None:
    headless = log(FIRST, SECOND).split(b"\n", 3)[3]
    batch, report = read(tmp_path, headless)
    assert batch is not None
    assert len(batch) == 2
    assert "no header" in report.notes[0]


def test_a_header_without_addresses_is_located(tmp_path: Path) -> None:
    content = b"#path\tconn\n#fields\tts\tuid\tproto\n1.0\tC1\ttcp\n"
    with pytest.raises(UnreadableFileError, match=r"some.log:3: no field id.orig_h in the header"):
        read(tmp_path, content)


def test_line_ends_of_windows_a_mark_and_foreign_bytes(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + log(FIRST.replace(" ssl ", " caf\\xe9 ")).replace(b"\n", b"\r\n")
    batch = flows(tmp_path, content)
    assert batch.texts("service").decode() == ["café"]
    raw = log(FIRST.replace(" ssl ", " caf@ ")).replace(b"@", b"\xe9")
    assert flows(tmp_path, raw).texts("service").decode() == ["café"]


def test_a_line_over_the_bound_is_a_bad_record(tmp_path: Path) -> None:
    long = FIRST.replace(" ssl ", " " + "x" * (1 << 20) + " ")
    batch, report = read(tmp_path, log(SECOND, long, FIRST, long))
    assert batch is not None
    assert batch.texts("flow_id").decode() == ["C2", "C1"]
    assert [error.line for error in report.errors] == [5, 7]


def test_compressed_is_the_same_as_plain(tmp_path: Path) -> None:
    plain = flows(tmp_path, log(FIRST, SECOND))
    packed = flows(tmp_path, gzip.compress(log(FIRST)) + gzip.compress(("\t".join(SECOND.split(" ")) + "\n").encode()))
    assert np.array_equal(plain.start_time_ns, packed.start_time_ns)


def test_a_broken_compressed_file_gives_what_came_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [FIRST.replace("C1", f"C{number}") for number in rng.integers(0, 1 << 60, 20_000)]
    content = gzip.compress(log(*rows))
    path = tmp_path / "conn.log.gz"
    path.write_bytes(content[: len(content) // 2])
    stream = read_flows(path, batch_rows=1000)
    with pytest.raises(UnreadableFileError, match=r"conn.log.gz:\d+: gzip stream ends in the middle"):
        for _ in stream:
            pass
    assert 1000 < stream.report.records < 20_000


def test_a_small_file_that_breaks_off_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "conn.log.gz"
    path.write_bytes(gzip.compress(log(FIRST, SECOND))[:-9])
    stream = read_flows(path)
    with pytest.raises(UnreadableFileError, match=r"conn.log.gz:\d: gzip stream ends in the middle"):
        list(stream)
    assert stream.report.records >= 1


def test_labels_are_translated_and_a_missing_one_is_told(tmp_path: Path) -> None:
    fields = [*FIELDS, "label", "detailedlabel"]
    words = ["Malicious Scan", "Benign -", "Background (empty)", "Unknown x", "(empty) -", "weird y"]
    batch, report = read(tmp_path, log(*(f"{FIRST} {word}" for word in words), fields=fields))
    assert batch is not None
    assert batch.texts("label").decode() == ["malicious", "benign", "unknown", "unknown", None, None]
    assert batch.texts("detailed_label").decode() == ["Scan", None, None, "x", None, "y"]
    assert report.bad_records == 0
    assert [error.line for error in report.label_errors] == [8, 9]
    assert report.label_errors[1].reason == "label: 'weird'; expected a known label"


def test_iot23_writes_its_last_three_fields_with_spaces(tmp_path: Path) -> None:
    content = log(FIRST, SECOND).replace(b"tunnel_parents", b"tunnel_parents   label   detailed-label")
    content = content.replace(b"(empty)\n", b"(empty)   Malicious   C&C\n").replace(
        b"\t0\t-\n", b"\t0\t-   benign   -\n"
    )
    batch = flows(tmp_path, content)
    assert batch.texts("label").decode() == ["malicious", "benign"]
    assert batch.texts("detailed_label").decode() == ["C&C", None]


def test_a_tab_before_the_header_is_forgiven(tmp_path: Path) -> None:
    assert len(flows(tmp_path, b"\t" + log(FIRST))) == 1


def test_transports_without_a_name(tmp_path: Path) -> None:
    fields = [*FIELDS, "ip_proto"]
    row = FIRST.replace(" tcp ", " unknown_transport ")
    assert flows(tmp_path, log(f"{row} 47", fields=fields)).protocol.tolist() == [47]
    assert flows(tmp_path, log(row)).protocol.tolist() == [255]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_batches_are_bounded_and_in_order(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "conn.log"
    path.write_bytes(log(*(FIRST.replace("C1", f"C{number}") for number in range(7))))
    batches = list(read_flows(path, batch_rows=rows))
    assert max(len(batch) for batch in batches) <= rows
    assert FlowBatch.concatenate(batches).texts("flow_id").decode() == [f"C{number}" for number in range(7)]
