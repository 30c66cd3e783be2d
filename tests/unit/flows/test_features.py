"""The feature function: names, null rules, causality, and that cutting a stream into batches changes nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from securenet_flows.batch import CONN_STATES, NUMERIC, Dictionary, FlowBatch
from securenet_flows.exceptions import ColumnError
from securenet_flows.features import FEATURES, SCHEMA_HASH, Column, SourceContext, features, schema_hash, warm_up

pytestmark = pytest.mark.unit

SECOND = 10**9


def address(text: str) -> bytes:
    parsed = ipaddress.ip_address(text)
    return parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed


def batch_of(*flows: Mapping[str, Any]) -> FlowBatch:
    """A batch from a mapping a flow; what a mapping lacks is absent in that row."""
    numeric, present = {}, {}
    for name, dtype in NUMERIC.items():
        if any(name in flow for flow in flows):
            numeric[name] = np.array([flow.get(name, 0) for flow in flows], dtype)
            present[name] = np.array([name in flow for flow in flows])
    return FlowBatch(
        start_time_ns=np.array([int(flow.get("at", 0) * SECOND) for flow in flows], np.int64),
        src_addr=np.array([list(address(flow.get("src", "10.0.0.1"))) for flow in flows], np.uint8).reshape(-1, 16),
        dst_addr=np.array([list(address(flow.get("dst", "10.0.0.2"))) for flow in flows], np.uint8).reshape(-1, 16),
        protocol=np.array([flow.get("protocol", 6) for flow in flows], np.uint8),
        numeric=numeric,
        present=present,
        text={"service": Dictionary.encode(flow.get("service") for flow in flows)},
    )


def state(name: str) -> int:
    return CONN_STATES.index(name)


def busy_batch(rows: int, seed: int = 0) -> FlowBatch:
    rng = np.random.default_rng(seed)
    return batch_of(
        *(
            {
                "at": float(i) + float(rng.normal()),
                "src": f"10.0.0.{rng.integers(1, 6)}",
                "dst": f"192.0.2.{rng.integers(1, 200)}",
                "dst_port": int(rng.choice([22, 53, 80, 443, 50000])),
                "conn_state": int(rng.integers(1, len(CONN_STATES))),
                "orig_bytes": int(rng.integers(0, 10**6)),
                **({"resp_bytes": int(rng.integers(0, 10**6))} if i % 3 else {}),
            }
            for i in range(rows)
        )
    )


def test_columns_and_names_agree() -> None:
    assert [column.name.lower() for column in Column] == [feature.name for feature in FEATURES]
    assert [int(column) for column in Column] == list(range(len(FEATURES)))


def test_schema_hash_is_stable_within_a_version() -> None:
    assert schema_hash() == SCHEMA_HASH
    assert len(SCHEMA_HASH) == 64


def test_matrix_form() -> None:
    matrix = features(busy_batch(10))
    assert matrix.shape == (10, len(FEATURES))
    assert matrix.dtype == np.float32
    assert matrix.flags.c_contiguous
    assert features(busy_batch(0)).shape == (0, len(FEATURES))


def test_absent_values_are_unknown_not_zero() -> None:
    row = features(batch_of({}))[0]
    never = {feature.name for feature in FEATURES if feature.null.startswith("never")}
    assert {FEATURES[i].name for i in np.flatnonzero(~np.isnan(row))} == never


def test_shape_of_one_flow() -> None:
    flow = {
        "duration_ns": SECOND, "orig_bytes": 300, "resp_bytes": 100, "orig_pkts": 3, "resp_pkts": 0, "dst_port": 443,
        "conn_state": state("SF"),
    }  # fmt: skip
    row = features(batch_of(flow))[0]
    assert row[Column.DURATION_LOG] == pytest.approx(np.log1p(1000), abs=1e-3)
    assert row[Column.ORIG_BYTES_LOG] == pytest.approx(np.log1p(300), abs=1e-3)
    assert row[Column.ORIG_BYTES_PER_PKT_LOG] == pytest.approx(np.log1p(100), abs=1e-3)
    assert np.isnan(row[Column.RESP_BYTES_PER_PKT_LOG])
    assert row[Column.RESP_PKTS_LOG] == 0
    assert row[Column.DIRECTION_RATIO] == 0.5
    assert (row[Column.PORT_WEB], row[Column.PORT_AUTH]) == (1, 0)


def test_ip_bytes_stand_in_for_payload_that_the_exporter_does_not_count() -> None:
    counted = {"orig_pkts": 4, "orig_bytes": 300, "orig_ip_bytes": 300 + 4 * 52}
    derived = {name: value for name, value in counted.items() if name != "orig_bytes"}
    rows = features(batch_of(counted, derived))
    shape = [Column.ORIG_BYTES_LOG, Column.ORIG_BYTES_PER_PKT_LOG]
    assert np.array_equal(rows[0, shape], rows[1, shape])


@pytest.mark.parametrize(("protocol", "header"), [(6, 52), (17, 28), (1, 28), (58, 28), (47, 20)])
def test_headers_are_taken_off_by_protocol(protocol: int, header: int) -> None:
    flow = {"protocol": protocol, "resp_pkts": 2, "resp_ip_bytes": 2 * header + 10}
    assert features(batch_of(flow))[0, Column.RESP_BYTES_LOG] == pytest.approx(np.log1p(10), abs=1e-3)


def test_packets_of_less_than_their_headers_carry_nothing() -> None:
    wild = [
        {"orig_pkts": 3, "orig_ip_bytes": 120},
        {"orig_pkts": 2**62, "orig_ip_bytes": 5},
        {"orig_pkts": -1, "orig_ip_bytes": -5},
    ]
    assert not features(batch_of(*wild))[:, Column.ORIG_BYTES_LOG].any()


@pytest.mark.parametrize("flow", [{"orig_ip_bytes": 500}, {"orig_pkts": 5}])
def test_ip_bytes_without_packets_say_nothing_of_payload(flow: Mapping[str, Any]) -> None:
    assert np.isnan(features(batch_of(flow))[0, Column.ORIG_BYTES_LOG])


@pytest.mark.parametrize("name", CONN_STATES[1:])
def test_every_state_has_one_class(name: str) -> None:
    row = features(batch_of({"conn_state": state(name)}))[0]
    assert row[Column.STATE_FAILED : Column.STATE_OTHER + 1].sum() == 1


@pytest.mark.parametrize(
    ("port", "column"),
    [
        (22, Column.PORT_AUTH), (3389, Column.PORT_AUTH), (80, Column.PORT_WEB), (53, Column.PORT_DNS),
        (0, Column.PORT_SYSTEM), (1023, Column.PORT_SYSTEM), (1024, Column.PORT_HIGH), (65535, Column.PORT_HIGH),
    ],
)  # fmt: skip
def test_every_port_has_one_class(port: int, column: Column) -> None:
    row = features(batch_of({"dst_port": port}))[0]
    assert row[column] == 1
    assert row[Column.PORT_AUTH : Column.PORT_HIGH + 1].sum() == 1


def test_icmp_type_is_not_a_port() -> None:
    row = features(batch_of({"dst_port": 8, "protocol": 1}))[0]
    assert np.isnan(row[Column.PORT_AUTH : Column.PORT_HIGH + 1]).all()


def test_values_are_multiples_of_a_1024th() -> None:
    matrix = features(busy_batch(200))
    scaled = matrix[~np.isnan(matrix)] * 1024
    assert np.array_equal(scaled, np.rint(scaled))


def test_a_flow_does_not_see_itself_or_later_ones() -> None:
    batch = busy_batch(60)
    whole = features(batch)
    for rows in (1, 17, 59):
        assert np.array_equal(features(batch.take(slice(0, rows))), whole[:rows], equal_nan=True)


def test_context_of_a_scan() -> None:
    flows = [
        {"at": i, "dst": f"10.1.{i // 250}.{i % 250}", "dst_port": 445, "conn_state": state("S0")} for i in range(100)
    ]
    last = features(batch_of(*flows))[-1]
    assert last[Column.SRC_FAILURE_RATE] == 1
    assert 60 < np.expm1(last[Column.SRC_DESTINATIONS_LOG]) < 110
    assert np.expm1(last[Column.SRC_FAILED_PORTS_LOG]) < 1.1
    assert last[Column.PAIR_FLOWS_LOG] == 0
    assert last[Column.SRC_GAP_VARIATION] == 0


def test_only_ports_that_did_not_answer_are_counted() -> None:
    answered = [{"at": i, "dst_port": 1000 + i, "conn_state": state("SF")} for i in range(40)]
    assert features(batch_of(*answered))[-1, Column.SRC_FAILED_PORTS_LOG] == 0
    refused = [{**flow, "conn_state": state("REJ")} for flow in answered]
    assert 25 < np.expm1(features(batch_of(*refused))[-1, Column.SRC_FAILED_PORTS_LOG]) < 45


def test_counts_halve_after_the_half_life() -> None:
    matrix = features(batch_of({"at": 0}, {"at": 300}))
    assert np.expm1(matrix[1, Column.SRC_FLOWS_LOG]) == pytest.approx(0.5, abs=1e-3)
    assert np.expm1(matrix[1, Column.PAIR_FLOWS_LOG]) == pytest.approx(0.5, abs=1e-3)
    assert np.expm1(matrix[1, Column.SRC_GAP_LOG]) == pytest.approx(300e3, rel=1e-3)


def test_known_destinations_do_not_count_twice() -> None:
    flows = [{"at": i / 10, "dst": f"10.1.0.{i % 3}"} for i in range(60)]
    last = features(batch_of(*flows))[-1]
    assert np.expm1(last[Column.SRC_DESTINATIONS_LOG]) == pytest.approx(3, abs=0.1)


def test_regular_gaps_vary_less_than_irregular_ones() -> None:
    regular = features(batch_of(*({"at": 60.0 * i} for i in range(20))))[-1]
    times = np.cumsum(np.random.default_rng(1).exponential(60, 20))
    irregular = features(batch_of(*({"at": float(t)} for t in times)))[-1]
    assert regular[Column.PAIR_GAP_VARIATION] < 0.01
    assert irregular[Column.PAIR_GAP_VARIATION] > 0.3


def test_without_states_silence_is_failure() -> None:
    flows = [{"at": i, "resp_pkts": 0} for i in range(3)]
    assert features(batch_of(*flows))[-1, Column.SRC_FAILURE_RATE] == 1


def test_a_batch_may_be_cut_anywhere() -> None:
    batch = busy_batch(120)
    whole = features(batch, SourceContext(64))
    context = SourceContext(64)
    pieces = [features(piece, context) for piece in batch.split(7)]
    assert np.array_equal(np.concatenate(pieces), whole, equal_nan=True)


def test_a_dry_run_leaves_no_trace() -> None:
    context = SourceContext(64)
    features(busy_batch(50), context)
    before = context.snapshot()
    first = features(busy_batch(20, seed=2), context, learn=False)
    again = features(busy_batch(20, seed=2), context, learn=False)
    assert np.array_equal(first, again, equal_nan=True)
    assert all(np.array_equal(before[name], array) for name, array in context.snapshot().items())


def test_a_snapshot_goes_on_where_it_was_taken() -> None:
    batch = busy_batch(80)
    whole = features(batch)
    context = SourceContext.for_rows(80)
    features(batch.take(slice(0, 40)), context)
    resumed = SourceContext.restore(context.snapshot())
    assert np.array_equal(features(batch.take(slice(40, 80)), resumed), whole[40:], equal_nan=True)
    assert resumed.flows == 80
    assert context.flows == 40


def test_memory_is_bounded_and_evictions_are_counted() -> None:
    context = SourceContext(64)
    flows = [{"at": i, "src": f"10.{i // 250}.1.{i % 250}"} for i in range(1000)]
    features(batch_of(*flows), context)
    assert context.evictions > 0
    assert np.count_nonzero(context.source.touched >= 0) <= 64


def test_columns_that_may_only_be_read_are_enough() -> None:
    batch = busy_batch(5)
    required: list[np.ndarray] = [batch.start_time_ns, batch.src_addr, batch.dst_addr, batch.protocol]
    for array in (*required, *batch.numeric.values()):
        array.setflags(write=False)
    every_other = batch.take(slice(0, 5, 2))
    assert features(every_other).shape[0] == 3


def test_clocks_that_run_backwards_or_far_ahead_do_no_harm() -> None:
    wild: list[dict[str, float]] = [{"at": 9e9}, {"at": -9e9}, {"at": 0}, {"at": 9.2e9}]
    matrix = features(batch_of(*wild))
    assert np.isfinite(matrix[~np.isnan(matrix)]).all()
    assert matrix[1, Column.SRC_GAP_LOG] == 0


@pytest.mark.parametrize("slots", [0, 63, 100, 1 << 25])
def test_slots_must_be_a_power_of_two_in_bounds(slots: int) -> None:
    with pytest.raises(ValueError, match=f"slots: {slots}"):
        SourceContext(slots)


def test_a_foreign_snapshot_is_refused() -> None:
    arrays = SourceContext(64).snapshot()
    with pytest.raises(ColumnError, match=r"pair\.keys"):
        SourceContext.restore({name: array for name, array in arrays.items() if name != "pair.keys"})
    with pytest.raises(ColumnError, match="counters"):
        SourceContext.restore({**arrays, "counters": np.zeros(3, np.int64)})


def test_warming_up_needs_no_flow() -> None:
    warm_up()
