"""Alembic environment: migrates on the connection that ``service.db.migrate`` passes."""

from importlib import import_module
from pathlib import Path

from alembic import context

import service.cache_invalidation.outbox  # noqa: F401 - declares its table
from service.db.database import Base

for tables in Path(__file__).parents[1].glob("*/tables.py"):
    import_module(f"service.{tables.parent.name}.tables")  # declares those of a slice

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter most things: batch mode copies the table.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
