"""Packet captures (pcap, pcapng), metered into flows by nfstream. Needs the extra `pcap`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa

from securenet_flows.batch import FlowBatch
from securenet_flows.exceptions import UnreadableFileError
from securenet_flows.readers.arrow import Array
from securenet_flows.readers.columns import assemble
from securenet_flows.readers.interface import Detected
from securenet_flows.readers.pcap_framing import check_framing
from securenet_flows.readers.sources import Source
from securenet_flows.readers.states import states_of_flags
from securenet_flows.report import FileLog

MISSING: Final = "packet captures need nfstream: pip install securenet-flows[pcap]"

#: The meter may be silent for so long, and longer for large captures: it writes flows when they end.
_SILENT_SECONDS: Final = 60.0
_SLOWEST_BYTES_PER_SECOND: Final = 2_000_000
_LARGEST_SPOOLED_BYTES: Final = 8 << 30
_LARGEST_METER_ROWS: Final = 8192
_ERROR_CHARACTERS: Final = 200

_COUNTS: Final = (
    "protocol",
    "src_port",
    "dst_port",
    "orig_pkts",
    "resp_pkts",
    "orig_ip_bytes",
    "resp_ip_bytes",
    "orig_bytes",
    "resp_bytes",
)

#: nDPI's names of applications whose server name means something, and Zeek's names for them.
_SERVICES: Final = {"TLS": "ssl", "QUIC": "quic", "DNS": "dns", "HTTP": "http", "SSH": "ssh"}


class PcapReader:
    """Flows by nfstream's meter: cut after 120 s of silence or 30 minutes, given as they end; times in milliseconds.

    Both payload and IP bytes are counted; the state is made of the TCP flags of either side.
    """

    def read(self, source: Source, detected: Detected, log: FileLog, batch_rows: int) -> Iterator[FlowBatch]:
        """See :class:`securenet_flows.readers.interface.Reader`. A record's number is that of the flow."""
        del detected
        if importlib.util.find_spec("nfstream") is None:
            raise UnreadableFileError(log.path, MISSING)
        with _on_disk(source, log.path) as path:
            framing = check_framing(path)
            flows = 0
            if framing.packets:
                for table in _metered(path, log.path, min(batch_rows, _LARGEST_METER_ROWS)):
                    batch = _batch(table, flows, log)
                    flows += table.num_rows
                    if len(batch):
                        yield batch
            if framing.fault:
                raise UnreadableFileError(log.path, framing.fault, framing.packets)
            if framing.packets and not flows:
                raise UnreadableFileError(log.path, f"{framing.packets} packets without an IP flow among them")


@contextlib.contextmanager
def _on_disk(source: Source, name: str) -> Iterator[Path]:
    """The capture as a plain file: nfstream opens a path, and does not decompress."""
    path = Path(source.path)
    head = source.raw_head(4)
    plain = not source.is_stream and head[:2] != b"\x1f\x8b" and head != b"\x28\xb5\x2f\xfd"
    if plain and path.suffix:
        yield path.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="securenet-pcap-") as folder:
        spooled = Path(folder) / "capture.pcap"
        if plain:
            spooled.symlink_to(path.absolute())  # without a suffix nfstream takes a name for an interface
        else:
            _spool(source, spooled, name)
        yield spooled


def _spool(source: Source, path: Path, name: str) -> None:
    written = 0
    with path.open("wb") as file, contextlib.suppress(EOFError):
        for piece in source.pieces():
            written += len(piece)
            if written > _LARGEST_SPOOLED_BYTES:
                raise UnreadableFileError(
                    name, f"over {_LARGEST_SPOOLED_BYTES} bytes decompressed; decompress it first"
                )
            file.write(piece)


def _metered(path: Path, name: str, rows: int) -> Iterator[Any]:
    """The meter's tables. Whatever happens, its processes are gone at the end.

    Raises:
        UnreadableFileError: the meter failed, died or fell silent.
    """
    command = [sys.executable, "-P", "-m", "securenet_flows.readers.pcap_meter", str(path), str(rows)]
    patience = _SILENT_SECONDS + path.stat().st_size / _SLOWEST_BYTES_PER_SECOND
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(  # noqa: S603  # our own module, arguments are not a shell's
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
        )
        try:
            with contextlib.suppress(pa.ArrowInvalid, OSError):
                stream = pa.ipc.open_stream(cast("Any", process.stdout))
                while True:
                    with _impatient(process, patience):
                        table = next(iter(stream), None)
                    if table is None:
                        break
                    yield table
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_SILENT_SECONDS)
        finally:
            _end(process)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip().splitlines()
            reason = said[-1][:_ERROR_CHARACTERS] if said else f"the meter ended with {process.returncode}"
            raise UnreadableFileError(name, f"nfstream: {reason}")


@contextlib.contextmanager
def _impatient(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, _kill, (process,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The meter and what it started: they are a session of their own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _kill(process)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _batch(table: Any, before: int, log: FileLog) -> FlowBatch:
    column = {name: table.column(name) for name in table.schema.names}
    numbers = np.arange(before + 1, before + 1 + table.num_rows, dtype=np.int64)
    columns: dict[str, Array] = {
        "start_time_ns": pa.array(column["start_ms"].to_numpy() * 1_000_000),
        "duration_ns": pa.array(column["duration_ms"].to_numpy() * 1_000_000),
        "src_addr": column["src_ip"],
        "dst_addr": column["dst_ip"],
        "flow_id": pa.array([f"flow-{number}" for number in numbers.tolist()], pa.string()),
        **{name: column[name] for name in _COUNTS},
    }
    columns["conn_state"] = pa.array(
        states_of_flags(
            column["protocol"].to_numpy().astype(np.uint8),
            column["orig_flags"].to_numpy(),
            column["resp_flags"].to_numpy(),
            column["resp_pkts"].to_numpy() > 0,
        )
    )
    masters = [name.partition(".")[0] for name in column["application"].to_pylist()]
    services = [_SERVICES.get(name, name.lower()) if name not in {"", "Unknown"} else None for name in masters]
    columns["service"] = pa.array(services, pa.string())
    servers = [name or None for name in column["server_name"].to_pylist()]
    for service, target in (("ssl", "tls_server_name"), ("http", "http_host"), ("dns", "dns_query")):
        values = [server if found == service else None for server, found in zip(servers, services, strict=True)]
        columns[target] = pa.array(values, pa.string())
    columns["http_user_agent"] = pa.array([agent or None for agent in column["user_agent"].to_pylist()], pa.string())
    assembled = assemble(columns, numbers)
    for number, reason in assembled.bad_records:
        log.bad_record(number, reason)
    return assembled.batch
