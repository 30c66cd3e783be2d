"""Runs migrations on the connection that the store hands in, or writes them as SQL for a review."""

from __future__ import annotations

from alembic import context

from securenet_detection.findings.sqlalchemy_tables import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, version_table="detection_version")
with context.begin_transaction():
    context.run_migrations()
