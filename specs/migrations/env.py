"""Run the migrations on the connection that `specs.database` hands over, in its transaction."""

from alembic import context

from specs.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
