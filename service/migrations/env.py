"""Alembic environment: migrates on the connection that ``service.db.migrate`` passes."""

from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

import service.db.cache_outbox  # noqa: F401 - declares its table
from service.db.database import Base

for tables in Path(__file__).parents[1].glob("*/tables.py"):
    import_module(f"service.{tables.parent.name}.tables")  # declares those of a slice


def written(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write a type of ours as what it is to the database: a migration outlives our names."""
    decorates = kind == "type" and isinstance(item, TypeDecorator)
    return f"sa.{item.impl_instance!r}" if decorates else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_item=written,
    # SQLite cannot alter most things: batch mode copies the table.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
