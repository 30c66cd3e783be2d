"""How many records a second each reader gives, on one core, of files that are generated here.

python benchmarks/flow_readers.py [--rows N] [--output table|json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from securenet_flows import read_flows

_ZEEK_FIELDS = [
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
_ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", dtype="S1")


def _flows(rows: int) -> list[dict[str, object]]:
    """Flows of an office: a few hundred clients, tens of thousands of servers, all of Zeek's fields."""
    rng = np.random.default_rng(20_200_612)
    uids = rng.choice(_ALPHABET, (rows, 17)).view("S17").ravel().astype(str)
    times = 1_600_000_000 + np.cumsum(rng.exponential(0.01, rows))
    services = [("tcp", "ssl", 443), ("udp", "dns", 53), ("tcp", "http", 80), ("tcp", None, 22), ("icmp", None, 0)]
    kinds = rng.choice(len(services), rows, p=[0.45, 0.35, 0.1, 0.05, 0.05])
    clients = rng.integers(1, 254, (rows, 2))
    servers = rng.integers(1, 254, (rows, 3))
    numbers = rng.integers(0, 1_000_000, (rows, 6))
    durations = rng.exponential(2.0, rows)
    states = rng.choice(["SF", "S0", "REJ", "RSTO", "OTH"], rows, p=[0.8, 0.1, 0.05, 0.03, 0.02])
    flows = []
    for row in range(rows):
        proto, service, port = services[kinds[row]]
        a, b, c = (int(value) for value in servers[row])
        flows.append(
            {
                "ts": round(float(times[row]), 6),
                "uid": "C" + str(uids[row]),
                "id.orig_h": f"10.20.{clients[row, 0] % 4}.{clients[row, 1]}",
                "id.orig_p": int(numbers[row, 0] % 60_000 + 1024),
                "id.resp_h": f"203.{a}.{b}.{c}",
                "id.resp_p": port,
                "proto": proto,
                "service": service,
                "duration": round(float(durations[row]), 6),
                "orig_bytes": int(numbers[row, 1]),
                "resp_bytes": int(numbers[row, 2]),
                "conn_state": str(states[row]),
                "local_orig": True,
                "local_resp": False,
                "missed_bytes": 0,
                "history": "ShADadFf",
                "orig_pkts": int(numbers[row, 3] % 1000),
                "orig_ip_bytes": int(numbers[row, 4]),
                "resp_pkts": int(numbers[row, 3] % 900),
                "resp_ip_bytes": int(numbers[row, 5]),
            }
        )
    return flows


def _zeek_tsv(flows: list[dict[str, object]]) -> str:
    def text(value: object) -> str:
        if value is None:
            return "-"
        if isinstance(value, bool):
            return "T" if value else "F"
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    head = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#fields\t"
    lines = ("\t".join(text(flow.get(name)) for name in _ZEEK_FIELDS) for flow in flows)
    return head + "\t".join(_ZEEK_FIELDS) + "\n" + "\n".join(lines) + "\n"


def _zeek_json(flows: list[dict[str, object]]) -> str:
    return "".join(
        json.dumps({key: value for key, value in flow.items() if value is not None}, separators=(",", ":")) + "\n"
        for flow in flows
    )


def _iso(seconds: object) -> str:
    return str(np.datetime64(round(float(str(seconds)) * 1e6), "us"))


def _eve(flows: list[dict[str, object]]) -> str:
    return "".join(
        json.dumps(
            {
                "timestamp": _iso(flow["ts"]) + "+0000",
                "flow_id": number,
                "event_type": "flow",
                "src_ip": flow["id.orig_h"],
                "src_port": flow["id.orig_p"],
                "dest_ip": flow["id.resp_h"],
                "dest_port": flow["id.resp_p"],
                "proto": str(flow["proto"]).upper(),
                "app_proto": flow["service"] or "failed",
                "flow": {
                    "pkts_toserver": flow["orig_pkts"],
                    "pkts_toclient": flow["resp_pkts"],
                    "bytes_toserver": flow["orig_ip_bytes"],
                    "bytes_toclient": flow["resp_ip_bytes"],
                    "start": _iso(flow["ts"]) + "+0000",
                    "end": _iso(float(str(flow["ts"])) + float(str(flow["duration"]))) + "+0000",
                },
                "tcp": {"tcp_flags_ts": "1b", "tcp_flags_tc": "1b"},
            }
        )
        + "\n"
        for number, flow in enumerate(flows, 1)
    )


def _binetflow(flows: list[dict[str, object]]) -> str:
    fields = (
        "StartTime Dur Proto SrcAddr Sport Dir DstAddr Dport State sTos dTos TotPkts TotBytes SrcBytes SrcPkts Label"
    )
    rows = [fields.split(" ")]
    for flow in flows:
        started = _iso(flow["ts"]).replace("-", "/").replace("T", " ")
        packets = int(str(flow["orig_pkts"])) + int(str(flow["resp_pkts"]))
        size = int(str(flow["orig_ip_bytes"])) + int(str(flow["resp_ip_bytes"]))
        ends = [flow["id.orig_h"], flow["id.orig_p"], "   ->", flow["id.resp_h"], flow["id.resp_p"]]
        counts = [packets, size, flow["orig_ip_bytes"], flow["orig_pkts"]]
        row = [started, flow["duration"], flow["proto"], *ends, "FSPA_FSPA", 0, 0, *counts, "flow=Background"]
        rows.append([str(value) for value in row])
    return "".join(",".join(row) + "\n" for row in rows)


FORMATS: dict[str, Callable[[list[dict[str, object]]], str]] = {
    "zeek_tsv": _zeek_tsv,
    "zeek_json": _zeek_json,
    "suricata_eve": _eve,
    "argus_binetflow": _binetflow,
}


def _rate(path: Path, rows: int, repeats: int) -> float:
    """Rows a second of the fastest of some passes: the others were disturbed."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        read = sum(len(batch) for batch in read_flows(path))
        best = min(best, time.perf_counter() - start)
        if read != rows:
            raise SystemExit(f"{path.name}: {read} rows; expected {rows}")
    return rows / best


def main() -> None:
    """Generates the files, reads them, prints a line a format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    flows = _flows(options.rows)
    machine = f"{platform.machine()} {platform.system()}, {os.cpu_count()} CPUs, one used"
    reference = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name, render in FORMATS.items():
            path = Path(folder) / f"{name}.log"
            path.write_text(render(flows))
            rate = _rate(path, options.rows, options.repeats)
            reference = reference or rate
            if options.output == "json":
                figure = {"name": f"read_{name}", "value": round(rate), "unit": "rows/s", "ratio_to": "read_zeek_tsv"}
                print(json.dumps({**figure, "ratio": round(rate / reference, 3), "machine": machine}))
            else:
                print(f"{name:18} {rate:12,.0f} rows/s")
            path.unlink()


if __name__ == "__main__":
    main()
