"""Which flows belong to a finding, and carry its level although they came before the threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import numpy as np
import pytest

from securenet.detection.v1 import verdict_pb2
from securenet_client.analysis.capture import CaptureAnalysis
from securenet_client.analysis.rows import AnalyzedRows, DetectorNames, address_bytes
from securenet_client.analysis.second_look import SecondLook
from securenet_client.analysis.spill import RowSpill
from securenet_client.detection.convert import Verdicts, unpack_verdicts
from securenet_client.detection.records import Detector, Finding, ThreatLevel, Threshold
from securenet_flows.batch import Dictionary, FlowBatch

pytestmark = pytest.mark.unit

SECOND = 10**9
START = 1_700_000_000 * SECOND
SCANNER = "10.0.0.5"


def detector(name: str, kind: str = "behavioral", window: float = 300.0) -> Detector:
    return Detector(name, "1", "", kind, (Threshold("window", window, "seconds", ""),), (), (), None)


def finding(
    finding_id: str, entity: str, peers: Sequence[str], *, port: int | None, level: ThreatLevel = ThreatLevel.HIGH
) -> Finding:
    return Finding(
        name=f"findings/{finding_id}", status="new", threat_level=level, risk=80.0, entity=entity, detectors=("d",),
        techniques=(), peers=tuple(peers), port=port, summary="", evidence=(), flow_ids=(), first_seen_time=None,
        last_seen_time=None, create_time=datetime.now(UTC), update_time=None, count=1, analyst_verdict="", comment="",
        updated_by="", revision=1, suppressions=(), sensor_ids=(),
    )  # fmt: skip


class Row:
    """A flow, its level, and the evidence that it bears."""

    def __init__(
        self,
        second: float,
        src: str,
        dst: str,
        port: int = 445,
        *,
        evidence: Iterable[tuple[str, str]] = (),
        level: ThreatLevel = ThreatLevel.HIGH,
    ) -> None:
        self.second, self.src, self.dst, self.port, self.level = second, src, dst, port, level
        self.evidence = tuple(evidence)


def batch_of(rows: Sequence[Row]) -> FlowBatch:
    def addresses(texts: Iterable[str]) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
        return np.frombuffer(b"".join(map(address_bytes, texts)), dtype=np.uint8).reshape(-1, 16)

    return FlowBatch(
        start_time_ns=np.array([START + int(row.second * SECOND) for row in rows], dtype=np.int64),
        src_addr=addresses(row.src for row in rows),
        dst_addr=addresses(row.dst for row in rows),
        protocol=np.full(len(rows), 6, dtype=np.uint8),
        numeric={"dst_port": np.array([row.port for row in rows], dtype=np.uint16)},
        text={"flow_id": Dictionary.encode([f"C{number}" for number in range(len(rows))])},
    )


def verdicts_of(rows: Sequence[Row]) -> Verdicts:
    message = verdict_pb2.VerdictBatch(
        threat_level=[2 if row.evidence else 1 for row in rows], score=[0.5 if row.evidence else 0.1 for row in rows]
    )
    for number, row in enumerate(rows):
        if row.evidence:
            detail = message.details.add(row=number)
            for finding_id, name in row.evidence:
                detail.verdict.evidence.add(id=finding_id, detector=name).level = int(row.level)  # type: ignore[assignment]  # an enum's number
    return unpack_verdicts(message)


class FakeDetection:
    """Answers with prepared verdicts and findings."""

    def __init__(self, batches: Sequence[Sequence[Row]], detectors: Iterable[Detector], findings: Iterable[Finding]):
        self.batches, self.detectors, self.findings = batches, tuple(detectors), tuple(findings)

    def analyze_batches(
        self, batches: Iterable[FlowBatch], *, state_scope: str = ""
    ) -> Iterator[tuple[FlowBatch, Verdicts]]:
        for rows, batch in zip(self.batches, batches, strict=True):
            yield batch, verdicts_of(rows)

    def list_detectors(self) -> tuple[Detector, ...]:
        return self.detectors

    def list_findings(self) -> Iterator[Finding]:
        return iter(self.findings)


def levels(
    batches: Sequence[Sequence[Row]],
    findings: Iterable[Finding],
    detectors: Iterable[Detector] = (detector("d"),),
    *,
    once: bool = False,
) -> list[int]:
    client = FakeDetection(batches, detectors, findings)
    analysis = CaptureAnalysis(client, map(batch_of, batches), once=once)
    return [level for rows in analysis for level in rows.level.tolist()]


SCAN = [
    [Row(0, SCANNER, "10.1.0.1"), Row(10, SCANNER, "10.1.0.2"), Row(11, "10.0.0.9", "10.1.0.1")],
    [Row(20, SCANNER, "10.1.0.3", evidence=[("f", "d")]), Row(21, SCANNER, "10.1.0.4", evidence=[("f", "d")])],
]
SCAN_FINDING = finding("f", SCANNER, ["10.1.0.3", "10.1.0.4"], port=445)


def test_flows_before_the_threshold_carry_the_level_of_their_finding() -> None:
    assert levels(SCAN, [SCAN_FINDING]) == [3, 3, 1, 3, 3]


def test_once_gives_the_streaming_answer() -> None:
    assert levels(SCAN, [SCAN_FINDING], once=True) == [1, 1, 1, 2, 2]


def test_a_finding_that_is_held_back_raises_nothing() -> None:
    assert levels(SCAN, []) == [1, 1, 1, 2, 2]


def test_flows_of_another_port_do_not_belong() -> None:
    rows = [[Row(0, SCANNER, "10.1.0.1", 80), *SCAN[0]], SCAN[1]]

    assert levels(rows, [SCAN_FINDING]) == [1, 3, 3, 1, 3, 3]


def test_flows_before_the_window_or_after_the_evidence_do_not_belong() -> None:
    rows = [[Row(-300, SCANNER, "10.1.0.1"), Row(-260, SCANNER, "10.1.0.1")], SCAN[1], [Row(60, SCANNER, "10.1.0.9")]]

    assert levels(rows, [SCAN_FINDING]) == [1, 3, 3, 3, 1]


def test_between_two_episodes_of_a_finding_there_is_peace() -> None:
    later = [Row(50_000, SCANNER, "10.1.0.7", evidence=[("f", "d")])]
    rows = [SCAN[1], [Row(25_000, SCANNER, "10.1.0.1"), Row(49_900, SCANNER, "10.1.0.2")], later]

    assert levels(rows, [SCAN_FINDING]) == [3, 3, 1, 3, 3]


def test_with_one_peer_only_flows_with_it_belong() -> None:
    rows = [
        [Row(0, SCANNER, "10.1.0.1", 22), Row(1, SCANNER, "10.1.0.2", 22)],
        [Row(2, SCANNER, "10.1.0.1", 22, evidence=[("f", "d")])],
    ]

    assert levels(rows, [finding("f", SCANNER, ["10.1.0.1"], port=22)]) == [3, 1, 3]


def test_a_victim_is_matched_on_the_other_side() -> None:
    rows = [
        [Row(0, "198.51.100.1", "10.0.0.80"), Row(1, "10.0.0.80", "198.51.100.1")],
        [Row(2, "198.51.100.2", "10.0.0.80", evidence=[("f", "d")])],
    ]

    assert levels(rows, [finding("f", "10.0.0.80", ["198.51.100.1", "198.51.100.2"], port=445)]) == [3, 1, 3]


def test_peers_of_one_kind_leave_out_flows_to_the_other() -> None:
    rows = [
        [Row(0, SCANNER, "8.8.8.8"), Row(1, SCANNER, "10.1.0.1")],
        [Row(2, SCANNER, "9.9.9.9", evidence=[("f", "d")])],
    ]

    assert levels(rows, [finding("f", SCANNER, ["8.8.4.4", "9.9.9.9"], port=445)]) == [3, 1, 3]


def test_of_a_whole_host_nothing_more_belongs() -> None:
    assert levels(SCAN, [finding("f", SCANNER, ["10.1.0.3", "10.1.0.4"], port=None)]) == [1, 1, 1, 2, 2]


def test_flows_carry_the_level_of_the_evidence_and_not_what_else_made_the_finding_grave() -> None:
    rows = [SCAN[0], [Row(20, SCANNER, "10.1.0.3", evidence=[("f", "d")], level=ThreatLevel.LOW)]]

    assert levels(rows, [SCAN_FINDING]) == [1, 1, 1, 2]


def test_a_model_judges_each_flow_alone() -> None:
    assert levels(SCAN, [SCAN_FINDING], [detector("d", "model")]) == [1, 1, 1, 2, 2]


def test_rows_that_could_not_be_scored_stay_so() -> None:
    names = DetectorNames()
    look = SecondLook([detector("d")])
    for part in SCAN:
        look.observe(AnalyzedRows.of(batch_of(part), verdicts_of(part), names), verdicts_of(part))
    look.resolve({"f": SCAN_FINDING}, names)
    rows = AnalyzedRows.of(batch_of(SCAN[0]), verdicts_of(SCAN[0]), names)
    rows.level[0] = 0

    raised = look.apply(rows)

    assert raised.level.tolist() == [0, 3, 1]
    assert next(raised.records(names))["threat_level"] == "low"


def test_the_summary_counts_and_names_findings() -> None:
    analysis = CaptureAnalysis(FakeDetection(SCAN, [detector("d")], [SCAN_FINDING]), map(batch_of, SCAN))
    records = [record for rows in analysis for record in rows.records(analysis.names)]

    assert analysis.summary.rows == 5
    assert analysis.summary.levels == [0, 1, 0, 4, 0]
    assert [found.id for found in analysis.summary.findings] == ["f"]
    assert [record["detectors"] for record in records] == [["d"], ["d"], [], ["d"], ["d"]]
    assert records[0]["score"] == pytest.approx(0.5)
    assert records[0] == {
        "flow_id": "C0", "start_time": "2023-11-14T22:13:20.000000Z", "src_ip": SCANNER, "src_port": None,
        "dst_ip": "10.1.0.1", "dst_port": 445, "protocol": "tcp", "threat_level": "high",
        "score": pytest.approx(0.5), "detectors": ["d"], "label": None,
    }  # fmt: skip


def test_rows_survive_the_file() -> None:
    with RowSpill(in_memory=1) as spill:
        for part in SCAN:
            spill.append(AnalyzedRows.of(batch_of(part), verdicts_of(part), DetectorNames()))
        back = list(spill)

    assert [len(rows) for rows in back] == [3, 2]
    assert back[1].flow_id.decode() == ["C0", "C1"]


def test_flows_are_records_with_types() -> None:
    analysis = CaptureAnalysis(FakeDetection(SCAN, [detector("d")], [SCAN_FINDING]), map(batch_of, SCAN))
    flows = [flow for rows in analysis for flow in rows.flows(analysis.names)]

    assert flows[0].threat_level is ThreatLevel.HIGH
    assert flows[0].start_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert flows[3].detectors == ("d",)
