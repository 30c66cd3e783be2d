"""What is under way in one tenant, in rows: requests, uploads, serving reports, trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from securenet_registry.model import (
    ServingReport,
    UploadRecord,
)
from securenet_registry.sqlalchemy_rows import report_of, training_of
from securenet_registry.sqlalchemy_tables import (
    ProgressRow,
    ReportRow,
    RequestRow,
    TrainingRow,
    UploadRow,
)
from securenet_registry.training.training import Training, TrainingProgress


class WorkRecords:
    """See :class:`~securenet_registry.ledger.LedgerTransaction`: requests, uploads, reports and trainings."""

    def __init__(self, session: Session, tenant: str) -> None:
        self._session = session
        self.tenant = tenant

    def request(self, method: str, request_id: str) -> Mapping[str, Any] | None:
        """See the port."""
        row = self._session.get(RequestRow, (self.tenant, method, request_id))
        return row.answer if row else None

    def add_request(self, method: str, request_id: str, answer: Mapping[str, Any], now_ns: int) -> None:
        """See the port."""
        row = RequestRow(
            tenant=self.tenant, method=method, request_id=request_id, answer=dict(answer), create_ns=now_ns
        )
        self._session.add(row)
        self._session.flush()

    def upload(self, request_id: str) -> UploadRecord | None:
        """See the port."""
        row = self._session.get(UploadRow, (self.tenant, request_id))
        return UploadRecord(row.request_id, row.header, row.version, row.expire_ns) if row else None

    def put_upload(self, record: UploadRecord) -> None:
        """See the port."""
        self._session.merge(UploadRow(tenant=self.tenant, **asdict(record)))

    def announced_bytes(self, now_ns: int, besides: str) -> int:
        """See the port."""
        begun = (UploadRow.tenant == self.tenant, UploadRow.version == 0, UploadRow.expire_ns > now_ns)
        headers = self._session.scalars(select(UploadRow.header).where(*begun, UploadRow.request_id != besides))
        return sum(int(header["size_bytes"]) for header in headers)

    def put_report(self, report: ServingReport) -> None:
        """See the port."""
        self._session.merge(ReportRow(tenant=self.tenant, **asdict(report)))

    def reports(self, model: str, alias: str) -> Sequence[ServingReport]:
        """See the port."""
        own = (ReportRow.tenant == self.tenant, ReportRow.model == model, ReportRow.alias == alias)
        rows = self._session.scalars(select(ReportRow).where(*own).order_by(ReportRow.consumer).limit(10_000))
        return [report_of(row) for row in rows]

    def training(self, training_id: str) -> Training | None:
        """See the port."""
        row = self._session.get(TrainingRow, training_id)
        return training_of(row) if row and row.tenant == self.tenant else None

    def put_training(self, training: Training) -> None:
        """See the port."""
        fields = {name: getattr(training, name) for name in TrainingRow.__table__.columns.keys()}  # noqa: SIM118 - names
        fields |= {"spec": training.spec.document(), "state": training.state.value}
        self._session.merge(TrainingRow(**fields))
        self._session.flush()

    def add_progress(self, training_id: str, progress: TrainingProgress) -> int:
        """See the port."""
        last = select(func.max(ProgressRow.seq)).where(ProgressRow.training == training_id)
        seq = (self._session.scalar(last) or 0) + 1
        self._session.add(ProgressRow(training=training_id, seq=seq, step=progress.document()))
        self._session.flush()
        return seq

    def progress(self, training_id: str, from_seq: int, limit: int) -> Sequence[TrainingProgress]:
        """See the port."""
        own = select(ProgressRow).where(ProgressRow.training == training_id, ProgressRow.seq >= from_seq)
        rows = self._session.scalars(own.order_by(ProgressRow.seq).limit(limit))
        return [TrainingProgress.of_document(row.seq, row.step) for row in rows]

    def last_progress(self, training_id: str) -> TrainingProgress | None:
        """See the port."""
        own = select(ProgressRow).where(ProgressRow.training == training_id)
        row = self._session.scalars(own.order_by(ProgressRow.seq.desc()).limit(1)).first()
        return TrainingProgress.of_document(row.seq, row.step) if row else None
