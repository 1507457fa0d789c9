"""A migration is written from the tables, numbered after the newest one."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from service.db import new_migration
from service.db.database import Base, UtcDateTime


def test_a_new_table_gets_a_migration(tmp_path: Path) -> None:
    columns = (
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("by", sa.Integer, index=True),
        sa.Column("at", UtcDateTime),
    )
    table = sa.Table("made_up", Base.metadata, *columns)
    try:
        file = new_migration.write("add_reviews", tmp_path)
    finally:
        Base.metadata.remove(table)
    text = file.read_text()
    assert file.parent == tmp_path
    assert "add_reviews" in file.name
    assert "op.create_table(" in text
    assert "ix_made_up_by" in text
    assert "sa.DateTime(timezone=True)" in text
    assert "service." not in text
    assert '"made_up"' in text.replace("'", '"')
    assert f'revision = "{file.name[:4]}"' in text.replace("'", '"')


def test_a_migration_is_needed_while_a_table_has_none() -> None:
    assert not new_migration.is_needed()
    table = sa.Table("made_up", Base.metadata, sa.Column("id", sa.Integer, primary_key=True))
    try:
        assert new_migration.is_needed()
    finally:
        Base.metadata.remove(table)


def test_without_a_change_the_migration_is_empty(tmp_path: Path) -> None:
    assert (
        "op."
        not in new_migration.write("nothing", tmp_path).read_text().partition("def upgrade")[2]
    )


@pytest.mark.parametrize("name", ["", "Add reviews", "../evil", "x"])
def test_a_name_that_is_none_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower-case words"):
        new_migration.write(name, tmp_path)
    assert not list(tmp_path.iterdir())
