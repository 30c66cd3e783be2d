"""Findings, suppressions and the counter of changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "findings",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("threat_level", sa.Integer, nullable=False),
        sa.Column("risk", sa.Float, nullable=False),
        sa.Column("entity", sa.String(64), nullable=False),
        sa.Column("entity_key", sa.LargeBinary(16), nullable=False),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("port", sa.Integer),
        sa.Column("first_seen_ns", sa.BigInteger, nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger, nullable=False),
        sa.Column("create_ns", sa.BigInteger, nullable=False),
        sa.Column("update_ns", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("analyst_verdict", sa.Integer, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("updated_by", sa.String(255), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("findings_by_change", "findings", ["tenant", "change"], unique=True)
    op.create_index("findings_by_entity", "findings", ["tenant", "entity_key"])
    op.create_table(
        "suppressions",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("entity_cidr", sa.String(64), nullable=False),
        sa.Column("peer_cidr", sa.String(64), nullable=False),
        sa.Column("port", sa.Integer),
        sa.Column("expire_ns", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("create_ns", sa.BigInteger, nullable=False),
    )
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": "change", "value": 0}])


def downgrade() -> None:
    """Drops them, and what they hold."""
    for table in ("counters", "suppressions", "findings"):
        op.drop_table(table)
