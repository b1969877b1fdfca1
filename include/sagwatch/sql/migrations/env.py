"""Runs the migrations on the connection that `sagwatch.adapters.database.migrate` hands over.

There is no other way in: the lock, the schemas, the views and the grants belong to the same transaction.
"""

from alembic import context
from geoalchemy2 import alembic_helpers

from sagwatch.adapters.database.models import SCHEMA, Base


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    """Our own schema only: PostGIS and whatever else lives in the database is not ours to change."""
    return kind != "schema" or name == SCHEMA


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=include_name,
    include_object=alembic_helpers.include_object,
    process_revision_directives=alembic_helpers.writer,
    render_item=alembic_helpers.render_item,
    compare_server_default=True,
)

with context.begin_transaction():
    context.run_migrations()
