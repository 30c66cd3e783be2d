"""Alembic's entry: the connection comes from the process that migrates."""

from __future__ import annotations

from alembic import context

from securenet_registry.sqlalchemy_tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
