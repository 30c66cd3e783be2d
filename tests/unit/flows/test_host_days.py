from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from securenet_flows.batch import CONN_STATES, FlowBatch
from securenet_flows.host_days import HostDays, host_days

pytestmark = pytest.mark.unit

DAY = 86_400_000_000_000


def batch(*flows: tuple[int, str, str], **numeric: np.ndarray) -> FlowBatch:
    return FlowBatch(
        start_time_ns=np.array([start for start, _, _ in flows], dtype=np.int64),
        src_addr=addresses([src for _, src, _ in flows]),
        dst_addr=addresses([dst for _, _, dst in flows]),
        protocol=np.full(len(flows), 6, dtype=np.uint8),
        numeric=numeric,
    )


def addresses(texts: list[str]) -> np.ndarray:
    packed = [ipaddress.ip_address(text if ":" in text else f"::ffff:{text}").packed for text in texts]
    return np.frombuffer(b"".join(packed), dtype=np.uint8).reshape(-1, 16).copy()


def states(*names: str) -> np.ndarray:
    return np.array([CONN_STATES.index(name) for name in names], dtype=np.uint8)


def test_a_host_counts_once_a_day() -> None:
    counter = HostDays()
    counter.add(batch((0, "10.0.0.1", "8.8.8.8"), (DAY - 1, "10.0.0.1", "9.9.9.9"), conn_state=states("SF", "SF")))
    counter.add(batch((DAY, "10.0.0.1", "8.8.8.8"), (5, "10.0.0.1", "1.1.1.1"), conn_state=states("S0", "SF")))
    assert len(counter) == 2


def test_an_answering_host_counts_and_a_probed_address_does_not() -> None:
    probes = [(0, "8.8.8.8", "10.0.0.1"), (0, "8.8.8.8", "10.0.0.2"), (0, "8.8.8.8", "10.0.0.3")]
    assert host_days(batch(*probes, conn_state=states("SF", "S0", "REJ"))) == 2
    assert host_days(batch(*probes, resp_pkts=np.array([1, 0, 0]))) == 1
    assert host_days(batch(*probes)) == 0


@pytest.mark.parametrize(
    ("address", "internal"),
    [("10.1.2.3", 1), ("172.16.0.1", 1), ("172.32.0.1", 0), ("192.168.1.1", 1), ("169.254.3.4", 1), ("fe80::1", 1),
     ("fd00::1", 1), ("2001:db8::1", 0), ("147.32.80.9", 0)],
)  # fmt: skip
def test_without_flags_private_addresses_are_internal(address: str, internal: int) -> None:
    assert host_days(batch((0, address, "8.8.8.8"))) == internal


def test_flags_of_the_source_decide() -> None:
    flows = [(0, "147.32.80.9", "8.8.8.8"), (0, "10.0.0.1", "8.8.8.8")]
    assert host_days(batch(*flows, local_orig=np.array([True, False]))) == 1


def test_times_before_the_epoch_have_days_too() -> None:
    assert host_days(batch((-1, "10.0.0.1", "8.8.8.8"), (0, "10.0.0.1", "8.8.8.8"))) == 2
