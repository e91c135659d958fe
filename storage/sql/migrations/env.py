"""What Alembic runs. The connection, with its transaction begun, comes from `surefoot.storage.sql.schema.upgrade`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
