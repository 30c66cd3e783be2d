"""The generation that an alias had when a promotion was asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Forward. All promotions so far were committed at once: theirs is the generation before."""
    with op.batch_alter_table("promotions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("base_generation", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE promotions SET base_generation = generation - 1 WHERE generation IS NOT NULL")
    with op.batch_alter_table("promotions", schema=None) as batch_op:
        batch_op.alter_column("base_generation", server_default=None)


def downgrade() -> None:
    """Back."""
    with op.batch_alter_table("promotions", schema=None) as batch_op:
        batch_op.drop_column("base_generation")
