"""The process that meters a packet capture with nfstream and writes its flows to standard output as an Arrow stream.

It stands apart because nfstream starts processes of its own, pins the process that reads from it to one core, prints
warnings, and runs C code over bytes from outside: none of that should happen to the caller.

    python -m securenet_flows.readers.pcap_meter FILE ROWS
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

#: The flow's fields, in the order of the columns that are written.
FIELDS: Final[Sequence[tuple[str, pa.DataType]]] = (
    ("start_ms", pa.int64()),
    ("duration_ms", pa.int64()),
    ("src_ip", pa.string()),
    ("dst_ip", pa.string()),
    ("src_port", pa.int64()),
    ("dst_port", pa.int64()),
    ("protocol", pa.int64()),
    ("orig_pkts", pa.int64()),
    ("resp_pkts", pa.int64()),
    ("orig_ip_bytes", pa.int64()),
    ("resp_ip_bytes", pa.int64()),
    ("orig_bytes", pa.int64()),
    ("resp_bytes", pa.int64()),
    ("orig_flags", pa.uint8()),
    ("resp_flags", pa.uint8()),
    ("application", pa.string()),
    ("server_name", pa.string()),
    ("user_agent", pa.string()),
)

_IP_BYTES: Final = 1
_IDLE_SECONDS: Final = 120
_ACTIVE_SECONDS: Final = 1800
_DISSECTED_PACKETS: Final = 20


def _meter(path: str) -> Any:
    from nfstream import NFPlugin, NFStreamer  # noqa: PLC0415  # an extra

    class Payload(NFPlugin):  # type: ignore[misc]  # nfstream has no types
        """Payload bytes and TCP flags of either side."""

        def on_init(self, packet: Any, flow: Any) -> None:
            flow.udps.payload = [0, 0]
            flow.udps.flags = [0, 0]
            self.on_update(packet, flow)

        def on_update(self, packet: Any, flow: Any) -> None:
            side = 1 if packet.direction else 0
            flow.udps.payload[side] += packet.payload_size
            flow.udps.flags[side] |= (
                (packet.fin and 0x01)
                | (packet.syn and 0x02)
                | (packet.rst and 0x04)
                | (packet.psh and 0x08)
                | (packet.ack and 0x10)
                | (packet.urg and 0x20)
            )

    return NFStreamer(
        source=path,
        n_meters=1,
        accounting_mode=_IP_BYTES,
        udps=Payload(),
        idle_timeout=_IDLE_SECONDS,
        active_timeout=_ACTIVE_SECONDS,
        n_dissections=_DISSECTED_PACKETS,
        statistical_analysis=False,
    )


def _row(flow: Any) -> tuple[object, ...]:
    known = "" if flow.application_is_guessed else flow.application_name
    return (
        flow.bidirectional_first_seen_ms,
        flow.bidirectional_duration_ms,
        flow.src_ip,
        flow.dst_ip,
        flow.src_port,
        flow.dst_port,
        flow.protocol,
        flow.src2dst_packets,
        flow.dst2src_packets,
        flow.src2dst_bytes,
        flow.dst2src_bytes,
        *flow.udps.payload,
        *flow.udps.flags,
        known,
        flow.requested_server_name,
        flow.user_agent,
    )


def _write(rows: Sequence[tuple[object, ...]], writer: Any, schema: pa.Schema) -> None:
    columns = [pa.array(values, kind) for values, (_, kind) in zip(zip(*rows, strict=True), FIELDS, strict=True)]
    writer.write_batch(pa.record_batch(columns, schema=schema))


def main(arguments: Sequence[str]) -> int:
    """Meters the capture; exit 0 when all of it was read, 1 with the reason on standard error."""
    path, batch_rows = arguments
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nfstream prints
    schema = pa.schema(FIELDS)
    try:
        with pa.ipc.new_stream(output, schema) as writer:
            rows: list[tuple[object, ...]] = []
            for flow in _meter(path):
                rows.append(_row(flow))
                if len(rows) >= int(batch_rows):
                    _write(rows, writer, schema)
                    rows = []
            if rows:
                _write(rows, writer, schema)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    output.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
