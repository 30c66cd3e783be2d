"""Scans, what they found, scopes, and the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "scan",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("spans", sa.Text(), nullable=False),
        sa.Column("ports", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("start_time", sa.BigInteger()),
        sa.Column("end_time", sa.BigInteger()),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("probes_total", sa.BigInteger(), nullable=False),
        sa.Column("probes_done", sa.BigInteger(), nullable=False),
        sa.Column("ports_open", sa.BigInteger(), nullable=False),
        sa.Column("hosts_up", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("tenant", "request_id", name="scan_request"),
    )
    op.create_index("scan_by_time", "scan", ["tenant", "create_time", "id"])
    op.create_index("scan_by_state", "scan", ["state"])
    op.create_table(
        "port",
        sa.Column("scan_id", sa.String(64), sa.ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("address", sa.String(45), primary_key=True),
        sa.Column("port", sa.Integer(), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("round_trip", sa.Float(), nullable=False),
        sa.Column("identified", sa.Boolean(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("product", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("cpe", sa.Text(), nullable=False),
        sa.Column("banner", sa.Text(), nullable=False),
        sa.Column("tls", sa.Boolean(), nullable=False),
    )
    op.create_index("port_by_address", "port", ["tenant", "address"])
    op.create_table(
        "finding",
        sa.Column("scan_id", sa.String(64), sa.ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("remedy", sa.Text(), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "event",
        sa.Column("scan_id", sa.String(64), sa.ForeignKey("scan.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sequence", sa.BigInteger(), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
    )
    op.create_table(
        "scope",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("request_id", sa.String(64)),
        sa.Column("cidrs", sa.Text(), nullable=False),
        sa.Column("authorized_by", sa.String(255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expire_time", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("create_time", sa.BigInteger(), nullable=False),
        sa.Column("delete_time", sa.BigInteger()),
        sa.UniqueConstraint("tenant", "request_id", name="scope_request"),
    )
    op.create_index("scope_by_time", "scope", ["tenant", "create_time", "id"])
    op.create_table(
        "audit",
        sa.Column("key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("time", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    """Drop them, what depends first."""
    for table in ("audit", "scope", "event", "finding", "port", "scan"):
        op.drop_table(table)
