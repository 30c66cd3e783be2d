"""What is written as it is on the wire is what protobuf itself would write."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securenet.detection.v1 import verdict_pb2
from securenet_detection import grpc_verdicts
from securenet_detection.grpc_flows import Columns, RowError
from securenet_detection.models.interface import ModelReference
from securenet_detection.threats import AnalyticType, Contribution, Evidence, Skipped, Technique, ThreatLevel

pytestmark = pytest.mark.unit

# Lengths take one, two and three bytes on the wire.
TEXTS = st.one_of(st.text(max_size=8), st.sampled_from(["a" * 127, "ä" * 64, "b" * 300, "c" * 20_000]))
NUMBERS = st.floats(allow_nan=False)
EVIDENCE = st.builds(
    Evidence,
    id=TEXTS,
    detector=TEXTS,
    detector_version=TEXTS,
    analytic_type=st.sampled_from(AnalyticType),
    level=st.sampled_from(ThreatLevel),
    confidence=NUMBERS,
    summary=TEXTS,
    measured=NUMBERS,
    threshold=NUMBERS,
    techniques=st.lists(st.builds(Technique, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    flow_ids=st.lists(TEXTS, max_size=10).map(tuple),
    measure=TEXTS,
    contributions=st.lists(
        st.builds(Contribution, TEXTS, st.none() | NUMBERS, st.none() | NUMBERS, NUMBERS), max_size=8
    ).map(tuple),
)


def plainly(piece: Evidence) -> verdict_pb2.Evidence:
    """The same from protobuf's own objects."""
    return verdict_pb2.Evidence(
        **{
            **piece._asdict(),
            "techniques": [verdict_pb2.AttackTechnique(**one._asdict()) for one in piece.techniques],
            "contributions": [
                verdict_pb2.Contribution(
                    feature=one.feature,
                    value=math.nan if one.value is None else one.value,
                    baseline=math.nan if one.baseline is None else one.baseline,
                    contribution=one.contribution,
                )
                for one in piece.contributions
            ],
        }
    )


@given(EVIDENCE)
def test_evidence_is_written_as_protobuf_writes_it(piece: Evidence) -> None:
    assert grpc_verdicts.evidence(piece).SerializeToString() == plainly(piece).SerializeToString()


class Told(SimpleNamespace):
    """Verdicts of rows of which each has a level, a score, evidence and detectors."""

    model = ModelReference("models/m/versions/1", "champion", "0" * 64)
    skipped = (Skipped("threat-intel", "no feed has been imported"),)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def threat_level(self) -> Any:
        return np.array([level for level, *_ in self.rows], np.uint8)

    @property
    def score(self) -> Any:
        return np.array([score for _, score, *_ in self.rows], np.float64)

    def contributions(self) -> dict[str, Any]:
        names = range(max((bits.bit_length() for *_, bits in self.rows), default=0))
        return {f"d{bit}": np.array([bits >> bit & 1 == 1 for *_, bits in self.rows]) for bit in names}

    def rows_at_or_above(self, level: ThreatLevel) -> list[int]:
        return [row for row, told in enumerate(self.rows) if told[0] >= level]

    def flow_id(self, row: int) -> str:
        return f"f-{row}"

    def evidence(self, row: int) -> tuple[Evidence, ...]:
        return tuple(self.rows[row][2])

    def has_evidence(self, row: int) -> bool:
        return bool(self.evidence(row))

    def model_at(self, row: int) -> ModelReference:
        return self.model

    def skipped_at(self, row: int) -> tuple[Skipped, ...]:
        return self.skipped

    def omitted_at(self, row: int) -> bool:
        return row % 2 == 1


ROWS = st.lists(
    st.tuples(
        st.integers(1, 4), st.floats(0, 1), st.lists(EVIDENCE, max_size=2), st.integers(0, 2**64 - 1) | st.just(0)
    ),
    max_size=6,
)


@given(ROWS, st.booleans())
def test_a_batch_is_written_as_protobuf_writes_it(rows: list[Any], first_is_bad: bool) -> None:
    bad = int(first_is_bad)
    verdicts: Any = Told(rows=rows)
    flows: Any = None
    places = np.arange(bad, len(rows) + bad) if bad else None
    errors = [RowError(0, "protocol", "0; expected 1 to 255")] * bad
    message = verdict_pb2.VerdictBatch()
    packer = grpc_verdicts.VerdictPacker(message, Columns(flows, len(rows) + bad, places, errors), 0)
    packer.add(0, verdicts)
    packer.finish()

    model = verdict_pb2.ModelRef(name="models/m/versions/1", alias="champion", digest="0" * 64)
    skipped = [verdict_pb2.SkippedDetector(detector="threat-intel", reason="no feed has been imported")]
    bits = max((contributed.bit_length() for *_, contributed in rows), default=0)
    expected = verdict_pb2.VerdictBatch(
        threat_level=[0] * bad + [level for level, *_ in rows],
        score=[0.0] * bad + [score for _, score, *_ in rows],
        details=[
            verdict_pb2.RowVerdict(
                row=row + bad,
                verdict=verdict_pb2.Verdict(
                    flow_id=f"f-{row}",
                    threat_level=level,
                    score=score,
                    evidence=map(plainly, pieces),
                    model=model,
                    skipped=skipped,
                    evidence_omitted=row % 2 == 1,
                ),
            )
            for row, (level, score, pieces, _) in enumerate(rows)
            if level >= ThreatLevel.MEDIUM
        ],
        errors=[verdict_pb2.RowError(row=error.row, field=error.field, reason=error.reason) for error in errors],
        model=model,
        skipped=skipped,
        detectors=[f"d{bit}" for bit in range(bits)],
        contributed=[*[0] * bad, *(contributed for *_, contributed in rows)] if bits else [],
    )
    assert message.SerializeToString() == expected.SerializeToString()
