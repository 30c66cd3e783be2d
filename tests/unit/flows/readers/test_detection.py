"""Formats are known by content. What is no flow log is told from what is broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from securenet_flows.exceptions import NotFlowsError, UnreadableFileError
from securenet_flows.readers.detection import detect, detect_format
from securenet_flows.readers.interface import Format
from securenet_flows.readers.sources import Source

pytestmark = pytest.mark.unit

CONN = b"#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tproto\n"
KDD = b"0,tcp,http,SF,232,8153," + b"0," * 35 + b"normal,21\n"
UNSW = b"59.166.0.0,1390,149.171.126.6,53,udp,CON," + b"0," * 22 + b"1421927414,1421927414," + b"0," * 17 + b",0\n"


@pytest.mark.parametrize(
    ("head", "format_", "kind"),
    [
        (CONN, Format.ZEEK_TSV, "conn"),
        (b"\xef\xbb\xbf" + CONN, Format.ZEEK_TSV, "conn"),
        (b"\t" + CONN, Format.ZEEK_TSV, "conn"),
        (
            CONN.replace(b"#path\tconn", b"#path\tconn_dmz").replace(b"proto", b"proto\tconn_state"),
            Format.ZEEK_TSV,
            "conn",
        ),
        (b"#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tquery\n", Format.ZEEK_TSV, "dns"),
        (
            b'{"ts":1.5,"uid":"C","id.orig_h":"::1","id.resp_h":"::2","proto":"tcp","conn_state":"SF"}\n',
            Format.ZEEK_JSON,
            "conn",
        ),
        (b'{"ts":1.5,"id_orig_h":"::1","id_resp_h":"::2","proto":"tcp","conn_state":"SF"}', Format.ZEEK_JSON, "conn"),
        (b'{"_path":"ssh","ts":"2020-01-01T00:00:00Z"}\n', Format.ZEEK_JSON, "ssh"),
        (
            b'\n{"broken\n{"ts":1,"uid":"C","id.orig_h":"::1","id.resp_h":"::2","query":"a","trans_id":1}\n',
            Format.ZEEK_JSON,
            "dns",
        ),
        (b'{"timestamp":"2020-01-01T00:00:00+0000","event_type":"stats"}\n', Format.SURICATA_EVE, ""),
        (b'"ts","uid","id_orig_h","id_orig_p","id_resp_h","proto","conn_state"\n', Format.ZEEK_CSV, "conn"),
        (b"StartTime,Dur,Proto,SrcAddr,Sport,Dir,DstAddr,Dport\n", Format.ARGUS, ""),
        (b"StartTime\tDur\tProto\tSrcAddr\tSport\tDir\tDstAddr\tDport\n", Format.ARGUS, ""),
        (b"ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt\n", Format.NFDUMP_CSV, ""),
        (b"firstSeen,duration,proto,srcAddr,srcPort,dstAddr,dstPort,packets,bytes,flows\n", Format.NFDUMP_CSV, ""),
        (
            b"Flow ID, Source IP, Source Port, Destination IP, Protocol, Timestamp, Flow Duration\n",
            Format.CICFLOWMETER,
            "",
        ),
        (b"id,Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration\n", Format.CICFLOWMETER, ""),
        (b"srcip,sport,dstip,dsport,proto,state,Stime\n", Format.UNSW_NB15, ""),
        (UNSW, Format.UNSW_NB15, "headless"),
        (KDD, Format.NSL_KDD, "43"),
        (b"duration,protocol_type,service,flag,src_bytes,dst_bytes\n", Format.NSL_KDD, ""),
        (b"\xd4\xc3\xb2\xa1\x02\x00", Format.PCAP, ""),
        (b"\x0a\x0d\x0d\x0a\x1c\x00", Format.PCAP, ""),
    ],
)
def test_known_formats(head: bytes, format_: Format, kind: str) -> None:
    detected = detect_format(head)
    assert (detected.format, detected.kind) == (format_, kind)


@pytest.mark.parametrize(
    ("head", "reason", "sound"),
    [
        (b"", "empty", True),
        (b"\n\n", "empty", True),
        (b"#path\tx509\n#fields\tts\tid\tcertificate.version\n", "not a flow log: Zeek x509", True),
        (b"#path\tsip\n#fields\tts\tuid\tid.orig_h\tid.resp_h\tmethod\turi\n", "not a flow log: Zeek sip", True),
        (
            b'{"ts":1.0,"operation":"request","orig_h":"10.0.0.1"}\n',
            "not a flow log: JSON with keys 'ts', 'operation'",
            True,
        ),
        (b"Lorem ipsum dolor sit amet, consectetur\n", "not a flow log: text in no known form", True),
        (b"1vz89zm5b2e981.org\nhxl1z.net\n", "not a flow log: text in no known form", True),
        (b"#####\n# labels of a tool\n", "not a flow log: text in no known form", True),
        (
            b"Destination Port,Flow Duration,Total Fwd Packets,Label\n",
            "CICFlowMeter output without address columns",
            False,
        ),
        (
            b"id,dur,proto,service,state,spkts,sbytes,dbytes,attack_cat,label\n",
            "UNSW-NB15's training or testing set",
            False,
        ),
        (b"\x0c\xa5\x01\x00\x00\x00", "nfdump's binary form", False),
        (b"PK\x03\x04\x00", "a zip archive", False),
        (b"\x00\x01\x02\x03", "binary data in no known form", False),
        (b"[{}]", "a JSON array; expected one JSON object a line", False),
        (b"{broken\n", "no line is a whole JSON object", False),
    ],
)
def test_what_is_refused_says_why(head: bytes, reason: str, sound: bool) -> None:
    detected = detect_format(head)
    assert detected.format is None
    assert detected.reason.startswith(reason)
    assert detected.sound is sound


@pytest.mark.parametrize("name", ["conn.log", "flows.pcap", "x.csv", "nothing"])
def test_the_name_means_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(CONN))
    assert detect(Source(str(path))).format is Format.ZEEK_TSV


def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "conn.log"
    path.write_bytes(pa.compress(CONN * 2000, "zstd", asbytes=True))
    assert detect(Source(str(path))).format is Format.ZEEK_TSV


def test_a_missing_file_is_located(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="cannot be opened: No such file"):
        detect(Source(str(tmp_path / "none")))


def test_damaged_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "conn.log.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00garbage that is no stream")
    with pytest.raises(UnreadableFileError, match="gzip stream"):
        detect(Source(str(path)))
    assert issubclass(NotFlowsError, UnreadableFileError)
