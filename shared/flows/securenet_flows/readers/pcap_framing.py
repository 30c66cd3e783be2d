"""Whether a packet capture is whole: counts its packets and finds the first place where they stop making sense.

Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_BIG_ENDIAN: Final = (b"\xa1\xb2\xc3\xd4", b"\xa1\xb2\x3c\x4d")
_FILE_HEADER: Final = 24
_PACKET_HEADER: Final = 16
#: libpcap's own limit of a packet's captured length.
_LARGEST_PACKET: Final = 262_144
_LARGEST_BLOCK: Final = 16 << 20
_SMALLEST_BLOCK: Final = 12
_SECTION: Final = 0x0A0D0D0A
_PACKET_BLOCKS: Final = (2, 3, 6)


@dataclass(frozen=True, slots=True)
class Framing:
    """Packets up to the first fault, and the fault, empty where there is none."""

    packets: int
    fault: str = ""


def check_framing(path: Path) -> Framing:
    """Walks the headers of all packets.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    if size < _FILE_HEADER:
        return Framing(0, f"{size} bytes; expected a file header of {_FILE_HEADER}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _pcapng(content, size) if content[:4] == _PCAPNG else _pcap(content, size)


def _pcap(content: mmap.mmap, size: int) -> Framing:
    header = struct.Struct(">8xI4x" if content[:4] in _BIG_ENDIAN else "<8xI4x")
    position, packets = _FILE_HEADER, 0
    while position < size:
        if size - position < _PACKET_HEADER:
            return Framing(packets, f"the file ends in the header of packet {packets + 1}")
        (length,) = header.unpack_from(content, position)
        if length > _LARGEST_PACKET:
            return Framing(packets, f"packet {packets + 1}: {length} bytes; expected at most {_LARGEST_PACKET}")
        position += _PACKET_HEADER + length
        if position > size:
            return Framing(packets, f"the file ends in packet {packets + 1}")
        packets += 1
    return Framing(packets)


def _pcapng(content: mmap.mmap, size: int) -> Framing:
    position = packets = 0
    order = "<"
    while position < size:
        if size - position < _SMALLEST_BLOCK:
            return Framing(packets, f"the file ends in a block header after packet {packets}")
        (kind,) = struct.unpack_from(f"{order}I", content, position)
        if kind == _SECTION:
            order = ">" if content[position + 8 : position + 12] == b"\x1a\x2b\x3c\x4d" else "<"
        (length,) = struct.unpack_from(f"{order}I", content, position + 4)
        if not _SMALLEST_BLOCK <= length <= _LARGEST_BLOCK or length % 4:
            return Framing(
                packets, f"a block of {length} bytes after packet {packets}; expected whole words up to 16 MiB"
            )
        if position + length > size:
            return Framing(packets, f"the file ends in a block after packet {packets}")
        (again,) = struct.unpack_from(f"{order}I", content, position + length - 4)
        if again != length:
            return Framing(packets, f"a block of {length} bytes that says {again} at its end, after packet {packets}")
        packets += kind in _PACKET_BLOCKS
        position += length
    return Framing(packets)
