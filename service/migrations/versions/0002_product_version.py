"""Add a version to products, for conditional writes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; its default also serves workers of the previous release."""
    column = sa.Column("version", sa.Integer(), nullable=False, server_default="1")
    op.add_column("products", column)


def downgrade() -> None:
    """Drop the column."""
    with op.batch_alter_table("products") as products:
        products.drop_column("version")
