"""Index products by category and, within it, newest first: an index with mixed directions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME, TABLE = "ix_products_category_newest", "products"
FOR_SALE = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Recreate the index; it still serves one category's newest."""
    _replace("category", sa.text("created_at DESC"), sa.text("id DESC"))


def downgrade() -> None:
    """Recreate the index with one direction."""
    _replace("category", "created_at", "id")


def _replace(*columns: str | sa.TextClause) -> None:
    op.drop_index(NAME, TABLE)
    op.create_index(NAME, TABLE, columns, postgresql_where=FOR_SALE, sqlite_where=FOR_SALE)
