"""What Alembic runs for each upgrade: the caller's own transaction, so that a failed migration leaves nothing."""

from alembic import context

from pki.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
