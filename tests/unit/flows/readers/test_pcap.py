"""Packet captures: their framing, and the meter as a process of its own."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path

import pytest

from securenet_flows import FlowBatch, UnreadableFileError, open_capture
from securenet_flows.batch import CONN_STATES
from securenet_flows.readers.pcap_framing import check_framing

pytestmark = pytest.mark.unit

needs_nfstream = pytest.mark.skipif(
    importlib.util.find_spec("nfstream") is None, reason="the extra pcap is not installed"
)

HEADER = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
SYN, SYN_ACK, ACK, FIN_ACK = 0x02, 0x12, 0x10, 0x11
CLIENT, SERVER = (bytes([192, 0, 2, 1]), 40000), (bytes([192, 0, 2, 9]), 80)


def tcp(source: tuple[bytes, int], target: tuple[bytes, int], flags: int, payload: bytes = b"") -> bytes:
    segment = struct.pack(">HHIIBBHHH", source[1], target[1], 1, 1, 5 << 4, flags, 1024, 0, 0) + payload
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0, source[0], target[0])
    return b"\x02" * 6 + b"\x04" * 6 + b"\x08\x00" + ip + segment


def capture(*packets: bytes) -> bytes:
    records = (struct.pack("<IIII", 1_600_000_000, 1000 * i, len(p), len(p)) + p for i, p in enumerate(packets))
    return HEADER + b"".join(records)


HANDSHAKE = (
    tcp(CLIENT, SERVER, SYN),
    tcp(SERVER, CLIENT, SYN_ACK),
    tcp(CLIENT, SERVER, ACK, b"x" * 100),
    tcp(SERVER, CLIENT, FIN_ACK, b"y" * 30),
    tcp(CLIENT, SERVER, FIN_ACK),
)


@pytest.mark.parametrize(
    ("cut", "packets", "fault"),
    [
        (0, 5, ""),
        (1, 4, "the file ends in packet 5"),
        (len(HANDSHAKE[-1]) + 3, 4, "the file ends in the header of packet 5"),
    ],
)
def test_framing(tmp_path: Path, cut: int, packets: int, fault: str) -> None:
    path = tmp_path / "x.pcap"
    content = capture(*HANDSHAKE)
    path.write_bytes(content[: len(content) - cut])
    framing = check_framing(path)
    assert (framing.packets, framing.fault) == (packets, fault)


def test_framing_of_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER + b"\xff" * 64)
    assert check_framing(path).fault == "packet 1: 4294967295 bytes; expected at most 262144"
    path.write_bytes(HEADER[:10])
    assert check_framing(path).fault == "10 bytes; expected a file header of 24"


def test_framing_of_pcapng(tmp_path: Path) -> None:
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    packet = struct.pack("<IIIII", 3, 20, 4, 0, 20)
    path = tmp_path / "x.pcapng"
    path.write_bytes(section + packet)
    assert check_framing(path).packets == 1
    path.write_bytes(section + packet[:-4] + b"\0\0\0\0")
    assert check_framing(path).fault == "a block of 20 bytes that says 0 at its end, after packet 0"
    path.write_bytes(section + packet[:-2])
    assert check_framing(path).fault == "the file ends in a block after packet 0"


@needs_nfstream
@pytest.mark.slow
@pytest.mark.parametrize("compressed", [False, True])
def test_packets_become_flows(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "capture"
    content = capture(*HANDSHAKE, tcp(CLIENT, (SERVER[0], 81), SYN))
    path.write_bytes(gzip.compress(content) if compressed else content)
    batch = FlowBatch.concatenate(list(open_capture(path)))
    order = batch.number("dst_port").argsort()
    batch = batch.take(order)
    assert batch.number("dst_port").tolist() == [80, 81]
    assert batch.number("orig_bytes").tolist() == [100, 0]
    assert batch.number("resp_bytes").tolist() == [30, 0]
    assert batch.number("orig_ip_bytes").tolist() == [40 + 140 + 40, 40]
    assert batch.number("orig_pkts").tolist() == [3, 1]
    assert [CONN_STATES[int(state)] for state in batch.number("conn_state")] == ["SF", "S0"]
    assert batch.start_time_ns[0] == 1_600_000_000_000_000_000


@needs_nfstream
@pytest.mark.slow
def test_a_capture_that_breaks_off_gives_its_flows_and_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(capture(*HANDSHAKE)[:-4])
    opened = open_capture(path)
    with pytest.raises(UnreadableFileError, match=r"x.pcap:4: the file ends in packet 5"):
        for _ in opened:
            pass
    assert opened.report.records == 1


def test_a_header_alone_holds_no_flow(tmp_path: Path) -> None:
    if importlib.util.find_spec("nfstream") is None:
        pytest.skip("the extra pcap is not installed")
    path = tmp_path / "x.pcap"
    path.write_bytes(HEADER)
    assert list(open_capture(path)) == []
