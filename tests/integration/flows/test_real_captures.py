"""Every file of the real captures is read, or refused with its place and reason. Facts are counted, not remembered."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from securenet_flows import (
    FlowBatch,
    NotFlowsError,
    UnreadableFileError,
    find_captures,
    open_capture,
    read_flows,
)
from securenet_flows.readers.interface import Format
from securenet_flows.report import ReadReport

pytestmark = pytest.mark.integration

LABELLED = [
    ("zeek-labelled/001-zeek-scenario-malicious/labeled-conn.log.gz", 992, 244),
    ("zeek-labelled/008-zeek-mixed/data/conn.log.labeled.gz", 5663, 4201),
    ("zeek-labelled/010-zeek-mixed/data/conn.log.labeled.gz", 5347, 3373),
    ("zeek-labelled/2023-02-20-benign/conn.log.labeled.gz", 8084, 0),
    ("cicids2017-mon-wed/BENIGN.csv.gz", 3180, 0),
]

#: Files by what should come of them: records, bad records.
COUNTED = [
    ("zeek-labelled/002-zeek-scenario-port-scanning/conn.log.gz", Format.ZEEK_JSON, 4504, 0),
    ("zeek-labelled/003-zeek-scenario-malicious/conn.log.gz", Format.ZEEK_TSV, 361, 0),
    ("slips/test2-malicious.binetflow.gz", Format.ARGUS, 6751, 0),
    ("slips/test5-mixed.binetflow.gz", Format.ARGUS, 298, 2),
    ("nsl-kdd/KDDTrain+_20Percent.txt.gz", Format.NSL_KDD, 25_192, 0),
    ("slips/test10-mixed-zeek-dir/conn.log", Format.ZEEK_TSV, 141, 0),
    ("slips/test9-mixed-zeek-dir/conn.log.gz", Format.ZEEK_JSON, 576, 0),
    ("unsw-nb15-raw/1_0-1_mix_time.csv.gz", Format.UNSW_NB15, 10_000, 0),
    ("lab-captures/openvas/conn.log.gz", Format.ZEEK_TSV, 5754, 0),
    ("lab-captures/openvas/conn.log.csv.gz", Format.ZEEK_CSV, 5754, 0),
    ("rita/truncated/conn.log", Format.ZEEK_TSV, 58, 1),
    ("rita/truncated/conn_top.log", Format.ZEEK_TSV, 58, 1),
    ("rita/truncated/conn_json.log", Format.ZEEK_JSON, 2, 2),
    ("zeek-zat-samples/http_empty.log", Format.ZEEK_TSV, 0, 0),
    ("zeek-wrccdc2018/zeek-default/dns.log.gz", Format.ZEEK_TSV, 53_615, 0),
]

REFUSED = [
    ("slips/test1-malicious.nfdump", "nfdump's binary form"),
    ("zeek-zat-samples/http.log.corrupt.gz", "gzip stream ends in the middle"),
    ("rita/text_file/conn.log", "not a flow log: text in no known form, beginning 'Lorem ipsum"),
    ("rita/proxy/x509.log.gz", "not a flow log: Zeek x509"),
    ("slips/test9-mixed-zeek-dir/arp.log", "not a flow log: JSON with keys 'ts', 'operation'"),
    ("dga/zeus.txt.gz", "not a flow log: text"),
    ("pcaps/emotet.pcap.out", "not a flow log: text"),
]


@pytest.mark.parametrize(("name", "flows", "malicious"), LABELLED)
def test_labels(shared_data: Path, name: str, flows: int, malicious: int) -> None:
    stream = read_flows(shared_data / "flows" / name)
    labels = Counter(label for batch in stream for label in batch.texts("label").decode())
    assert (stream.report.bad_records, stream.report.bad_labels) == (0, 0)
    assert labels.total() == flows
    assert labels["malicious"] == malicious
    assert labels[None] == 0


@pytest.mark.parametrize(("name", "format_", "records", "bad"), COUNTED)
def test_counts(shared_data: Path, name: str, format_: Format, records: int, bad: int) -> None:
    capture = open_capture(shared_data / "flows" / name)
    assert sum(len(batch) for batch in capture) == records
    assert (capture.format, capture.report.records, capture.report.bad_records) == (format_, records, bad)
    assert all(error.line > 0 for error in capture.report.errors)


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_refusals(shared_data: Path, name: str, reason: str) -> None:
    with pytest.raises(UnreadableFileError) as caught:
        list(read_flows(shared_data / "flows" / name))
    assert caught.value.reason.startswith(reason)
    assert caught.value.path.endswith(name)


def test_siblings_of_a_real_capture(shared_data: Path) -> None:
    capture = open_capture(shared_data / "flows" / "lab-captures" / "openvas" / "conn.log.gz")
    batch = FlowBatch.concatenate(list(capture))
    hosts = batch.texts("http_host")
    assert (hosts.codes >= 0).sum() > 100
    assert "10.0.2.5" in hosts.values
    assert batch.has("ssh_auth_attempts").any()


def test_a_folder_of_twins(shared_data: Path) -> None:
    report = ReadReport()
    captures = list(find_captures([shared_data / "flows" / "lab-captures" / "nmap"], report=report))
    assert [(capture.name, str(capture.format)) for capture in captures] == [
        ("nmap", "zeek-tsv"),
        ("nmap/nmap.csv.gz", "unsw-nb15"),
        ("nmap/nmap.pcapng", "pcap"),
    ]
    assert "conn.log.csv.gz" in {Path(file.path).name for file in report.skipped}


@pytest.mark.slow
def test_every_file_is_read_or_refused(shared_data: Path) -> None:
    """Packet captures are left to the next test: the meter takes its time."""
    read = 0
    refused: list[UnreadableFileError] = []
    for path in sorted((shared_data / "flows").rglob("*")):
        if not path.is_file() or path.suffix in {".pcap", ".pcapng"}:
            continue
        try:
            capture = open_capture(path)
            lines = sum(len(batch) for batch in capture)
        except UnreadableFileError as error:
            refused.append(error)
            continue
        assert capture.report.records == lines
        read += 1
    assert read > 100
    assert all(error.reason and str(shared_data) in error.path for error in refused)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("nfstream") is None, reason="the extra pcap is not installed")
@pytest.mark.parametrize(
    ("name", "least"),
    [("pcaps/emotet.pcap", 6), ("pcaps/synscan.pcap", 1994), ("lab-captures/nmap/nmap.pcapng", 1000)],
)
def test_packet_captures(shared_data: Path, name: str, least: int) -> None:
    batch = FlowBatch.concatenate(list(read_flows(shared_data / "flows" / name)))
    assert len(batch) >= least
    assert batch.has("orig_ip_bytes").all()


def test_not_flows_is_a_kind_of_unreadable() -> None:
    assert issubclass(NotFlowsError, UnreadableFileError)
