"""Runs the migrations on the connection that the service hands over."""

from alembic import context

from securenet_scanner.scans.sqlalchemy_models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite"
)
with context.begin_transaction():
    context.run_migrations()
