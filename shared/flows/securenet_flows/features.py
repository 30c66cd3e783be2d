"""What a model sees of a flow: one function, used in training and in serving alike.

A row is made of the flow's own shape and of what its source, its destination and this pair did *earlier*
(:class:`~securenet_flows.source_context.SourceContext`). No address is a feature, and nothing is used that only one
exporter knows. Where the exporter does not say, the value is NaN, after the feature's null rule.

A model learns whatever tells its captures apart, so what marks a network or an exporter rather than a flow is left out.
That a value is unknown is such a mark: where an exporter counts IP bytes alone, payload is what they leave beside the
headers. So is whether the exporter recognised the application, and so is how many ports a source uses: of ports only
those count that did not answer. `benchmarks/leave_one_capture_out.py` measures what each choice is worth.

Continuous values are rounded to 1/1024. A tree's thresholds are midpoints between two values, so they stay exact in
float32, and the compiled form of a model takes the same branch as the one that was trained.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from securenet_flows.batch import FlowBatch
from securenet_flows.source_context import GAP_MEMORY, HALF_LIFE_SECONDS, SourceContext

__all__ = ["FEATURES", "SCHEMA_HASH", "Column", "Feature", "SourceContext", "features", "schema_hash", "warm_up"]

#: Raise it when a value is computed differently under the same name: models trained before must not be served then.
SCHEMA_VERSION: Final = 2


class Column(IntEnum):
    """Position of each feature in the matrix."""

    DURATION_LOG = 0
    ORIG_BYTES_LOG = 1
    RESP_BYTES_LOG = 2
    ORIG_PKTS_LOG = 3
    RESP_PKTS_LOG = 4
    ORIG_BYTES_PER_PKT_LOG = 5
    RESP_BYTES_PER_PKT_LOG = 6
    DIRECTION_RATIO = 7
    STATE_FAILED = 8
    STATE_ESTABLISHED = 9
    STATE_RESET = 10
    STATE_OTHER = 11
    PROTOCOL_TCP = 12
    PROTOCOL_UDP = 13
    PROTOCOL_ICMP = 14
    PORT_AUTH = 15
    PORT_WEB = 16
    PORT_DNS = 17
    PORT_SYSTEM = 18
    PORT_HIGH = 19
    SRC_FLOWS_LOG = 20
    SRC_FAILURE_RATE = 21
    SRC_DESTINATIONS_LOG = 22
    SRC_FAILED_PORTS_LOG = 23
    SRC_GAP_LOG = 24
    SRC_GAP_VARIATION = 25
    PAIR_FLOWS_LOG = 26
    PAIR_GAP_LOG = 27
    PAIR_GAP_VARIATION = 28
    DST_FLOWS_LOG = 29
    DST_FAILURE_RATE = 30


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of the matrix.

    Attributes:
        name: its stable name.
        null: when the value is NaN.
        description: what it measures, with its unit.
    """

    name: str
    null: str
    description: str


_PORT_NULL = "no destination port, or the protocol has none (ICMP)"
_STATE_NULL = "no conn_state"
_BYTES_NULL = "no payload bytes, and no IP bytes with packets to take the headers from"

#: The columns of the matrix, in order.
FEATURES: Final[tuple[Feature, ...]] = (
    Feature("duration_log", "no duration", "ln(1 + milliseconds)"),
    Feature("orig_bytes_log", _BYTES_NULL, "ln(1 + payload bytes sent by the originator)"),
    Feature("resp_bytes_log", _BYTES_NULL, "ln(1 + payload bytes sent by the responder)"),
    Feature("orig_pkts_log", "no orig_pkts", "ln(1 + packets sent by the originator)"),
    Feature("resp_pkts_log", "no resp_pkts", "ln(1 + packets sent by the responder)"),
    Feature("orig_bytes_per_pkt_log", "orig_bytes_log unknown, or no packets", "ln(1 + payload bytes a packet)"),
    Feature("resp_bytes_per_pkt_log", "resp_bytes_log unknown, or no packets", "ln(1 + payload bytes a packet)"),
    Feature(
        "direction_ratio", "bytes of a direction unknown, or none in both", "(out − in) / (out + in) in payload bytes"
    ),
    Feature("state_failed", _STATE_NULL, "1 for S0, REJ, RSTOS0: the connection never came about"),
    Feature("state_established", _STATE_NULL, "1 for SF, S1, S2, S3"),
    Feature("state_reset", _STATE_NULL, "1 for RSTO, RSTR, RSTRH"),
    Feature("state_other", _STATE_NULL, "1 for SH, SHR, OTH: the start or the answer was not seen"),
    Feature("protocol_tcp", "never", "1 for TCP"),
    Feature("protocol_udp", "never", "1 for UDP"),
    Feature("protocol_icmp", "never", "1 for ICMP and ICMPv6"),
    Feature("port_auth", _PORT_NULL, "1 where the destination port is one that people log in to (ssh, rdp, smb, …)"),
    Feature("port_web", _PORT_NULL, "1 for web ports"),
    Feature("port_dns", _PORT_NULL, "1 for name resolution (53, 853, 5353)"),
    Feature("port_system", _PORT_NULL, "1 for any other port below 1024"),
    Feature("port_high", _PORT_NULL, "1 for any other port from 1024"),
    Feature("src_flows_log", "never", "ln(1 + decayed number of earlier flows of this source)"),
    Feature("src_failure_rate", "no earlier flow of this source", "decayed share of its earlier flows that failed"),
    Feature("src_destinations_log", "never", "ln(1 + decayed number of distinct earlier destinations)"),
    Feature("src_failed_ports_log", "never", "ln(1 + decayed number of distinct ports that it failed to reach)"),
    Feature("src_gap_log", "no earlier flow of this source", "ln(1 + milliseconds since it)"),
    Feature("src_gap_variation", "fewer than two gaps", "mean absolute deviation of its gaps / their mean"),
    Feature("pair_flows_log", "never", "ln(1 + decayed number of earlier flows of this source, destination and port)"),
    Feature("pair_gap_log", "no earlier flow of this pair and port", "ln(1 + milliseconds since it)"),
    Feature("pair_gap_variation", "fewer than two gaps", "mean absolute deviation of its gaps / their mean"),
    Feature("dst_flows_log", "never", "ln(1 + decayed number of earlier flows to this destination)"),
    Feature("dst_failure_rate", "no earlier flow to it", "decayed share of the earlier flows to it that failed"),
)


def schema_hash() -> str:
    """SHA-256, in hex, over names, rules, order and the constants that the values depend on."""
    document = {
        "version": SCHEMA_VERSION,
        "features": [asdict(feature) for feature in FEATURES],
        "half_life_seconds": HALF_LIFE_SECONDS,
        "gap_memory": GAP_MEMORY,
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


#: What a model must have been trained with to be served here.
SCHEMA_HASH: Final = schema_hash()


def features(batch: FlowBatch, context: SourceContext | None = None, *, learn: bool = True) -> NDArray[np.float32]:
    """The feature matrix of a batch.

    Rows are taken in their order. Each sees the flows before it, of this batch and of all batches that the same context
    saw, and never itself; so a stream may be cut into batches anywhere without changing a value.

    Args:
        batch: the flows.
        context: what is known of sources so far; it learns the batch. None starts an empty one for this batch alone,
            which is right for a whole capture and wrong for a piece of one.
        learn: False leaves the context as it is, and then no row sees another row of this batch (dry runs).

    Returns:
        float32 (n, len(FEATURES)), C-contiguous, NaN where the null rule says so.
    """
    # numba takes half a second to import; who only asks for the schema does not wait for it.
    from securenet_flows import feature_kernels  # noqa: PLC0415 - see above

    if context is None:
        context = SourceContext.for_rows(len(batch))
    return feature_kernels.compute(batch, context, learn=learn)


def warm_up() -> None:
    """Compiles the kernels, or loads them from the disk cache, so that the first flow does not wait for it."""
    features(
        FlowBatch(
            start_time_ns=np.zeros(1, np.int64),
            src_addr=np.zeros((1, 16), np.uint8),
            dst_addr=np.zeros((1, 16), np.uint8),
            protocol=np.zeros(1, np.uint8),
        )
    )
