"""What holds of every reader for any bytes: only declared errors come out, and how it is cut makes no difference."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securenet_flows import FlowBatch, FlowDataError, RecordError, UnreadableFileError
from securenet_flows.batch import NUMERIC, TEXT
from securenet_flows.readers.addresses import parse_addresses
from securenet_flows.readers.detection import detect, detect_format
from securenet_flows.readers.interface import Format
from securenet_flows.readers.registered import reader_of
from securenet_flows.readers.sources import Source
from securenet_flows.report import FileLog

pytestmark = pytest.mark.unit

CONN_FIELDS = (
    "ts uid id.orig_h id.orig_p id.resp_h id.resp_p proto service duration orig_bytes conn_state local_orig label"
)
CONN_ROWS = (
    "1600000000.123456 C1 10.0.0.1 51000 192.0.2.7 443 tcp ssl 1.5 100 SF T Benign",
    "1600000001.5 C2 fe80::1 5353 ff02::fb 5353 udp - - - S0 - Malicious",
    "3.25 C3 10.0.0.1 8 192.0.2.7 0 icmp (empty) 0.000001 8 OTH F -",
)
ZEEK = ("#separator \\x09\n#path\tconn\n#fields\t" + CONN_FIELDS.replace(" ", "\t") + "\n").encode() + b"".join(
    row.replace(" ", "\t").encode() + b"\n" for row in CONN_ROWS * 2
)
JSON = b"".join(
    json.dumps(
        {"ts": 1.5 + n, "uid": f"C{n}", "id.orig_h": "10.0.0.1", "id.orig_p": 5, "id.resp_h": "::1", "id.resp_p": n}
        | {"proto": "tcp", "conn_state": "SF", "duration": 0.25, "label": "Benign", "local_orig": n % 2 == 0}
    ).encode()
    + b"\n"
    for n in range(5)
)
EVE = b"".join(
    json.dumps(
        {"timestamp": "2020-09-13T12:26:45+0000", "event_type": kind, "flow_id": 7, "src_ip": "192.0.2.1"}
        | {"dest_ip": "::2", "src_port": 1, "dest_port": 2, "proto": "TCP", "tcp": {"tcp_flags_ts": "1b"}}
        | {"flow": {"start": "2020-09-13T12:26:40Z", "pkts_toclient": 1}, "dns": {"rrname": "a", "answers": [1]}}
    ).encode()
    + b"\n"
    for kind in ("dns", "flow", "flow")
)
CSV = b'"ts","uid","id_orig_h","id_resp_h","proto","conn_state"\n' + b'"1.5","C1","10.0.0.1","::1","tcp","SF"\n' * 3
ARGUS = (
    b"StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport,State,TotPkts,TotBytes,SrcBytes,SrcPkts,Label\n"
    b"2018/12/18 14:00:00.075359,0.5,tcp,192.0.2.6,52691,   ->,192.0.2.57,0x1f,S_RA,3,194,134,2,flow=From-Botnet\n"
    b"2018/12/18 14:00:01.0,0.0,udp,192.0.2.1,53,  <->,2001:db8::1,53,CON,2,142,63,1,\n"
)
NFDUMP = (
    b"ts,te,td,sa,da,sp,dp,pr,flg,ipkt,ibyt\n" + b"2020-05-01 10:00:00,x,2.5,192.0.2.1,192.0.2.2,4,80,TCP,S,3,180\n" * 2
)
CIC = (
    b"Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Total Fwd Packet,Label\n"
    b"a,192.0.2.1,35473,192.0.2.2,80,6,2017-07-05 19:55:50.312099,15885639,9,BENIGN\n"
    b"b,192.0.2.1,35473,192.0.2.2,80,6,5/7/2017 8:42,5,9,DoS Hulk\n"
)
UNSW = (
    b"srcip,sport,dstip,dsport,proto,state,dur,sbytes,dbytes,Stime,attack_cat,Label\n"
    b"192.0.2.1,0x000b,192.0.2.2,53,udp,CON,0.5,132,164,1421927414, Exploits ,1\n"
)
KDD = b"2,tcp,ftp_data,SF,491,0" + b",0" * 35 + b",normal,20\n0,udp,private,SF,146,7" + b",0" * 35 + b",satan,1\n"
SAMPLES = {
    Format.ZEEK_TSV: (ZEEK, "conn"),
    Format.ZEEK_JSON: (JSON, "conn"),
    Format.SURICATA_EVE: (EVE, ""),
    Format.ZEEK_CSV: (CSV, "conn"),
    Format.ARGUS: (ARGUS, ""),
    Format.NFDUMP_CSV: (NFDUMP, ""),
    Format.CICFLOWMETER: (CIC, ""),
    Format.UNSW_NB15: (UNSW, ""),
    Format.NSL_KDD: (KDD, "43"),
}
#: What makes trouble where it comes in.
TROUBLE = [
    b"\n", b"\r", b"\r\n", b"\t", b",", b'"', b"\0", b"\xff", b"\xe9", b"-", b"NaN", b"1e400", b"0x", b"_", b" ",
    b"#fields\tts\n", b"#", b"{", b"}", b"[", b"null", b"\\", b"\\x00", b"9" * 40, b"-1", b"1970-01-01", b"::", b"%",
    b"(empty)", b"\xef\xbb\xbf",
]  # fmt: skip

formats = st.sampled_from(sorted(SAMPLES))
edits = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.one_of(st.sampled_from(TROUBLE), st.binary(max_size=6))),
    max_size=5,
)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=150)


def mutated(content: bytes, changes: Sequence[tuple[float, int, bytes]]) -> bytes:
    for place, cut, put in changes:
        at = int(place * len(content))
        content = content[:at] + put + content[at + cut :]
    return content


def read(
    format_: Format, content: bytes, rows: int
) -> tuple[list[FlowBatch], list[tuple[int, bool]], UnreadableFileError | None]:
    """The batches, the lines that were bad (records and labels), and what ended the reading early."""
    problems: list[tuple[int, bool]] = []

    def listen(error: FlowDataError) -> None:
        assert isinstance(error, RecordError)
        problems.append((error.line, type(error) is RecordError))

    log = FileLog("x", on_error=listen)
    source = Source("x", io.BytesIO(content))
    detected = detect_format(b"")
    detected = type(detected)(format_, SAMPLES[format_][1])
    batches = []
    try:
        for batch in reader_of(format_).read(source, detected, log, rows):
            assert 0 < len(batch) <= rows
            batches.append(batch)
    except UnreadableFileError as error:
        return batches, problems, error
    return batches, problems, None


def flat(batches: Sequence[FlowBatch]) -> dict[str, object]:
    """All that a reader gave, in a form that can be compared."""
    if not batches:
        return {}
    whole = FlowBatch.concatenate(list(batches))
    return {
        "start": whole.start_time_ns.tolist(),
        "ends": (whole.src_addr.tolist(), whole.dst_addr.tolist()),
        "protocol": whole.protocol.tolist(),
        **{name: np.where(whole.has(name), whole.number(name), 0).tolist() for name in NUMERIC},
        **{f"{name}?": whole.has(name).tolist() for name in NUMERIC},
        **{name: whole.texts(name).decode() for name in TEXT},
    }


@given(formats, edits, st.integers(1, 9))
@relaxed
def test_real_looking_bytes_give_flows_or_declared_errors(
    format_: Format, changes: list[tuple[float, int, bytes]], rows: int
) -> None:
    batches, _, _ = read(format_, mutated(SAMPLES[format_][0], changes), rows)
    for batch in batches:
        assert np.all(np.greater_equal(batch.start_time_ns, 0))
        assert np.all(np.greater_equal(batch.number("duration_ns"), 0))


@given(formats, st.binary(max_size=400), st.integers(1, 9))
@relaxed
def test_any_bytes_give_flows_or_declared_errors(format_: Format, content: bytes, rows: int) -> None:
    read(format_, content, rows)


@given(formats, edits, st.integers(1, 4))
@relaxed
def test_how_it_is_cut_makes_no_difference(format_: Format, changes: list[tuple[float, int, bytes]], rows: int) -> None:
    content = mutated(SAMPLES[format_][0], changes)
    small, small_problems, small_end = read(format_, content, rows)
    large, large_problems, large_end = read(format_, content, 1000)
    assert (small_end is None) == (large_end is None)
    if small_end is None:
        assert flat(small) == flat(large)
        assert sorted(small_problems) == sorted(large_problems)


@given(formats, edits)
@relaxed
def test_compressed_is_as_plain(format_: Format, changes: list[tuple[float, int, bytes]]) -> None:
    content = mutated(SAMPLES[format_][0], changes)
    if content[:2] == b"\x1f\x8b":
        return
    plain, plain_problems, plain_end = read(format_, content, 3)
    packed, packed_problems, packed_end = read(format_, gzip.compress(content), 3)
    assert flat(plain) == flat(packed)
    assert plain_problems == packed_problems
    assert (plain_end is None) == (packed_end is None)


@given(formats, st.floats(0, 1))
@relaxed
def test_a_stream_that_breaks_off_is_located(format_: Format, place: float) -> None:
    packed = gzip.compress(SAMPLES[format_][0])
    kept = packed[: 2 + int(place * (len(packed) - 3))]
    _, _, end = read(format_, kept, 3)
    assert end is not None
    assert "gzip stream" in end.reason


@given(st.one_of(st.binary(max_size=300), st.tuples(formats, edits).map(lambda x: mutated(SAMPLES[x[0]][0], x[1]))))
@relaxed
def test_detection_never_fails(head: bytes) -> None:
    detected = detect_format(head)
    assert (detected.format is None) == bool(detected.reason)
    try:
        detect(Source("x", io.BytesIO(head)))
    except UnreadableFileError:
        assert head[:2] == b"\x1f\x8b" or head[:4] == b"\x28\xb5\x2f\xfd"


@given(formats)
def test_samples_are_detected_as_what_they_are(format_: Format) -> None:
    assert detect_format(SAMPLES[format_][0]).format is format_


@given(st.lists(st.one_of(st.ip_addresses().map(str), st.text("0123456789.:af%", max_size=18)), max_size=30))
@relaxed
def test_addresses_are_those_of_the_system(texts: list[str]) -> None:
    import socket  # noqa: PLC0415

    import pyarrow as pa  # noqa: PLC0415

    addresses, valid = parse_addresses(pa.array([text.encode() for text in texts], pa.binary()))
    for text, address, sound in zip(texts, addresses, valid.tolist(), strict=True):
        expected = None
        try:
            expected = b"\0" * 10 + b"\xff\xff" + socket.inet_pton(socket.AF_INET, text)
        except OSError:
            try:
                expected = socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
            except OSError:
                assert not sound
        if expected is not None:
            assert sound
            assert address.tobytes() == expected
