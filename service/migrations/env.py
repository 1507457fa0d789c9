"""Alembic environment: migrates on the connection that ``service.db.migrate`` passes."""

from alembic import context

import service.orders.tables
import service.products.tables
import service.users.tables  # noqa: F401 - importing the tables declares them
from service.db.database import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot alter most things: batch mode copies the table.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
