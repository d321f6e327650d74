"""Alembic's entry point: runs on the connection that `hive.ledger.migrate` hands over."""

from alembic import context

from hive.ledger.tables import SCHEMA, metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, version_table_schema=SCHEMA, include_schemas=True)
with context.begin_transaction():
    context.run_migrations()
