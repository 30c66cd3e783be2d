"""Tables of the registry's own database. Times are nanoseconds since the epoch."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

#: SQLite numbers rows by itself only where the key's type is INTEGER.
_Serial = BigInteger().with_variant(Integer, "sqlite")


class Base(DeclarativeBase):
    """The metadata that migrations compare with."""

    type_annotation_map = {int: BigInteger, dict[str, Any]: JSON, list[Any]: JSON, str: String}  # noqa: RUF012 - SQLAlchemy's own form


class ModelRow(Base):
    """A model."""

    __tablename__ = "models"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(Text)
    tags: Mapped[dict[str, Any]]
    latest_version: Mapped[int]
    create_ns: Mapped[int]
    update_ns: Mapped[int]


class VersionRow(Base):
    """A version."""

    __tablename__ = "versions"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "model"], ["models.tenant", "models.name"], ondelete="CASCADE"),
        Index("versions_by_digest", "tenant", "model", "digest"),
        Index("versions_to_mirror", "mirror_version", "create_ns"),
    )

    tenant: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[str]
    state_detail: Mapped[str] = mapped_column(Text)
    format: Mapped[str]
    digest: Mapped[str]
    size_bytes: Mapped[int]
    files: Mapped[list[Any]]
    feature_schema_hash: Mapped[str]
    metrics: Mapped[list[Any]]
    params: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]]
    sample_count: Mapped[int]
    run_id: Mapped[str]
    mirror_version: Mapped[int | None]
    runtime: Mapped[dict[str, Any]]
    description: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str]
    create_ns: Mapped[int]


class RetractionRow(Base):
    """A version that is gone here and stands in MLflow still."""

    __tablename__ = "retractions"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    mirror_version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run_id: Mapped[str]


class AliasRow(Base):
    """Where an alias points now."""

    __tablename__ = "aliases"
    __table_args__ = (ForeignKeyConstraint(["tenant", "model"], ["models.tenant", "models.name"], ondelete="CASCADE"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    generation: Mapped[int]
    update_ns: Mapped[int]
    updated_by: Mapped[str]
    previous_version: Mapped[int]


class PromotionRow(Base):
    """The history of aliases. Two moves cannot share a generation."""

    __tablename__ = "promotions"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "model"], ["models.tenant", "models.name"], ondelete="CASCADE"),
        Index("promotions_by_time", "tenant", "model", "create_ns", "id"),
        UniqueConstraint("tenant", "model", "alias", "generation", name="promotions_linear"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    model: Mapped[str]
    alias: Mapped[str]
    from_version: Mapped[int]
    to_version: Mapped[int]
    state: Mapped[str]
    generation: Mapped[int | None]
    gates: Mapped[list[Any]]
    requested_by: Mapped[str]
    decided_by: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    rollback: Mapped[bool]
    create_ns: Mapped[int]
    decide_ns: Mapped[int]
    base_generation: Mapped[int]


class EventRow(Base):
    """A change; its key is the registry's revision."""

    __tablename__ = "events"
    __table_args__ = (Index("events_by_model", "tenant", "model", "revision"), {"sqlite_autoincrement": True})

    revision: Mapped[int] = mapped_column(_Serial, primary_key=True, autoincrement=True)
    tenant: Mapped[str]
    model: Mapped[str]
    kind: Mapped[str]
    version: Mapped[int]
    alias: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    create_ns: Mapped[int]


class RequestRow(Base):
    """What a request of a client-given key was answered."""

    __tablename__ = "requests"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    method: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    answer: Mapped[dict[str, Any]]
    create_ns: Mapped[int]


class AuditRow(Base):
    """One link of a tenant's chain."""

    __tablename__ = "audit"
    __table_args__ = (Index("audit_by_resource", "tenant", "resource", "sequence"),)

    tenant: Mapped[str] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    create_ns: Mapped[int]
    actor: Mapped[str]
    action: Mapped[str]
    resource: Mapped[str]
    detail: Mapped[str] = mapped_column(Text)
    previous_hash: Mapped[str]
    hash: Mapped[str]


class UploadRow(Base):
    """An upload, finished or not."""

    __tablename__ = "uploads"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    request_id: Mapped[str] = mapped_column(primary_key=True)
    header: Mapped[dict[str, Any]]
    version: Mapped[int]
    expire_ns: Mapped[int]


class ReportRow(Base):
    """What a consumer said last."""

    __tablename__ = "serving_reports"

    tenant: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    consumer: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int]
    version: Mapped[int]
    loaded: Mapped[bool]
    detail: Mapped[str] = mapped_column(Text)
    report_ns: Mapped[int]


class TrainingRow(Base):
    """A training."""

    __tablename__ = "trainings"
    __table_args__ = (Index("trainings_by_state", "state", "create_ns"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    spec: Mapped[dict[str, Any]]
    state: Mapped[str]
    error: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    attempts: Mapped[int]
    created_by: Mapped[str]
    create_ns: Mapped[int]
    start_ns: Mapped[int]
    end_ns: Mapped[int]


class ProgressRow(Base):
    """A step of a training."""

    __tablename__ = "training_progress"

    training: Mapped[str] = mapped_column(ForeignKey("trainings.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    step: Mapped[dict[str, Any]]
