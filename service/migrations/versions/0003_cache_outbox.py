"""Add the outbox of cache invalidations."""

import sqlalchemy as sa
from alembic import op

from service.db.database import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "cache_outbox",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cache_outbox")),
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("cache_outbox")
