"""The tables of the scanner. Times are microseconds since 1970, so that both databases sort and compare them alike."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Root of the models."""


class ScanRow(Base):
    """One scan."""

    __tablename__ = "scan"
    __table_args__ = (
        UniqueConstraint("tenant", "request_id", name="scan_request"),
        Index("scan_by_time", "tenant", "create_time", "id"),
        Index("scan_by_state", "state"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(63))
    request_id: Mapped[str | None] = mapped_column(String(64))
    spec: Mapped[str] = mapped_column(Text)
    """JSON, as it was asked for."""
    spans: Mapped[str] = mapped_column(Text)
    """JSON, [first, last, host name] each."""
    ports: Mapped[bytes] = mapped_column(LargeBinary)
    """Two bytes a port, big-endian, in the order of probing, deflated."""
    state: Mapped[str] = mapped_column(String(16))
    error: Mapped[str] = mapped_column(Text, default="")
    created_by: Mapped[str] = mapped_column(String(255))
    create_time: Mapped[int] = mapped_column(BigInteger)
    start_time: Mapped[int | None] = mapped_column(BigInteger)
    end_time: Mapped[int | None] = mapped_column(BigInteger)
    scopes: Mapped[str] = mapped_column(Text)
    probes_total: Mapped[int] = mapped_column(BigInteger)
    probes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    ports_open: Mapped[int] = mapped_column(BigInteger, default=0)
    hosts_up: Mapped[int] = mapped_column(BigInteger, default=0)
    checkpoint: Mapped[int] = mapped_column(BigInteger, default=0)
    knowledge_version: Mapped[str] = mapped_column(String(128), default="", server_default="")
    last_sequence: Mapped[int] = mapped_column(BigInteger, default=0)


class PortRow(Base):
    """What was learned of one port."""

    __tablename__ = "port"
    __table_args__ = (Index("port_by_address", "tenant", "address"),)

    scan_id: Mapped[str] = mapped_column(ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    port: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[str] = mapped_column(String(63))
    state: Mapped[str] = mapped_column(String(16))
    round_trip: Mapped[float] = mapped_column(Float)
    identified: Mapped[bool]
    service: Mapped[str] = mapped_column(Text)
    product: Mapped[str] = mapped_column(Text)
    version: Mapped[str] = mapped_column(Text)
    cpe: Mapped[str] = mapped_column(Text)
    banner: Mapped[str] = mapped_column(Text)
    tls: Mapped[bool]


class FindingRow(Base):
    """One finding of a scan."""

    __tablename__ = "finding"

    scan_id: Mapped[str] = mapped_column(ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    address: Mapped[str] = mapped_column(String(45))
    port: Mapped[int]
    severity: Mapped[int]
    title: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text)
    remedy: Mapped[str] = mapped_column(Text)
    create_time: Mapped[int] = mapped_column(BigInteger)
    vulnerability: Mapped[str | None] = mapped_column(Text)
    """JSON."""


class EventRow(Base):
    """One event of a scan; the payload is JSON."""

    __tablename__ = "event"

    scan_id: Mapped[str] = mapped_column(ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    payload: Mapped[str] = mapped_column(Text)


class ScopeRow(Base):
    """One scope."""

    __tablename__ = "scope"
    __table_args__ = (
        UniqueConstraint("tenant", "request_id", name="scope_request"),
        Index("scope_by_time", "tenant", "create_time", "id"),
    )

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant: Mapped[str] = mapped_column(String(63))
    request_id: Mapped[str | None] = mapped_column(String(64))
    cidrs: Mapped[str] = mapped_column(Text)
    authorized_by: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text)
    expire_time: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(String(255))
    create_time: Mapped[int] = mapped_column(BigInteger)
    delete_time: Mapped[int | None] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did what; nothing ever changes or removes one."""

    __tablename__ = "audit"

    key: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    """SQLite numbers only INTEGER keys by itself."""
    time: Mapped[int] = mapped_column(BigInteger)
    tenant: Mapped[str] = mapped_column(String(63))
    subject: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(32))
    resource: Mapped[str] = mapped_column(Text)
    authority: Mapped[str] = mapped_column(Text)
    detail: Mapped[str] = mapped_column(Text)
