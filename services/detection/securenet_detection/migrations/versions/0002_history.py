"""History of findings, labels for training, what is known of tenants, and an identity of the database."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COUNTERS = sa.table("counters", sa.column("name", sa.String), sa.column("value", sa.BigInteger))


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "finding_events",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("finding_id", sa.String(64), primary_key=True),
        sa.Column("change", sa.BigInteger, primary_key=True),
        sa.Column("action", sa.Integer, primary_key=True),
        sa.Column("time_ns", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("status_before", sa.Integer, nullable=False),
        sa.Column("status_after", sa.Integer, nullable=False),
        sa.Column("verdict_before", sa.Integer, nullable=False),
        sa.Column("verdict_after", sa.Integer, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "labels",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("finding_id", sa.String(64), primary_key=True),
        sa.Column("change", sa.BigInteger, nullable=False),
        sa.Column("verdict", sa.Integer, nullable=False),
        sa.Column("detector", sa.String(64), nullable=False),
        sa.Column("labeled_by", sa.String(255), nullable=False),
        sa.Column("label_ns", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("labels_by_change", "labels", ["tenant", "change"])
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.String(63), primary_key=True),
        sa.Column("newest_ns", sa.BigInteger),
        sa.Column("deleted_change", sa.BigInteger, nullable=False),
    )
    op.create_index("findings_by_update", "findings", ["update_ns"])
    # Tokens of one database mean nothing to another, and cannot be made up.
    op.bulk_insert(_COUNTERS, [{"name": "identity", "value": secrets.randbits(62)}])


def downgrade() -> None:
    """Drops them, and what they hold."""
    op.execute(_COUNTERS.delete().where(_COUNTERS.c.name == "identity"))
    op.drop_index("findings_by_update", "findings")
    for table in ("tenants", "labels", "finding_events"):
        op.drop_table(table)
