"""Small labelled captures, for tests that train."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_HEADER = """#separator \\x09
#set_separator\t,
#empty_field\t(empty)
#unset_field\t-
#path\tconn
#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\tconn_state\
\torig_pkts\tresp_pkts{label_fields}
#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tcount\tcount\tstring\tcount\tcount{label_types}
"""


def write_capture(path: Path, *, seed: int, flows: int = 300, labelled: bool = True) -> Path:
    """A Zeek conn.log in which one source scans and others browse. Malicious flows come throughout."""
    rng = np.random.default_rng(seed)
    label_types = "\tstring\tstring" if labelled else ""
    lines = [_HEADER.format(label_fields="\tlabel\tdetailedlabel" if labelled else "", label_types=label_types)]
    for i in range(flows):
        begin = f"{1_767_225_600 + i * 2 + float(rng.random()):.6f}\tC{seed:04d}{i:012d}"
        if rng.random() < 0.3:
            port = rng.choice([22, 23, 445, 3389])
            flow = f"10.0.0.66\t{40000 + i}\t10.0.{i // 250}.{i % 250}\t{port}\ttcp\t-\t-\t-\t-\tS0\t1\t0"
            label = "\tMalicious\tscan"
        else:
            sent, got = int(rng.integers(100, 2000)), int(rng.integers(500, 90_000))
            ends = f"10.0.0.{rng.integers(1, 20)}\t{50000 + i}\t192.0.2.{rng.integers(1, 30)}\t443"
            flow = f"{ends}\ttcp\tssl\t{rng.random():.4f}\t{sent}\t{got}\tSF\t{sent // 400 + 3}\t{got // 1400 + 3}"
            label = "\tBenign\t-"
        lines.append(f"{begin}\t{flow}{label if labelled else ''}\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join([*lines, "#close\t2026-01-01-00-00-00\n"]))
    return path
