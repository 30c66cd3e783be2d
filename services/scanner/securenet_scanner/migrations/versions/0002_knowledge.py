"""Which knowledge a scan's findings were matched with, and the vulnerability behind a finding."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("scan", sa.Column("knowledge_version", sa.String(128), nullable=False, server_default=""))
    op.add_column("finding", sa.Column("vulnerability", sa.Text()))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("finding") as table:
        table.drop_column("vulnerability")
    with op.batch_alter_table("scan") as table:
        table.drop_column("knowledge_version")
