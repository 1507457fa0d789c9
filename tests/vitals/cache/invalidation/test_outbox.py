"""The outbox's table: by Alembic's autogenerate, by a migration written by hand, by create_all."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, select

from vitals.cache import Cache, outbox_table
from vitals.cache.invalidation.outbox import Outbox

pytestmark = pytest.mark.servers

ENV = """
from alembic import context
given = context.config.attributes
with given["engine"].begin() as connection:
    context.configure(connection=connection, target_metadata=given["metadata"])
    context.run_migrations()
"""
SCRIPT = '''
"""${message}"""
from alembic import op
import sqlalchemy as sa

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    ${downgrades if downgrades else "pass"}
'''


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path}/shop.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database().replace("+asyncpg", "+psycopg")
    made = create_engine(url)
    yield made
    made.dispose()


@pytest.fixture
def metadata() -> MetaData:
    """The host's, with a table of its own."""
    made = MetaData(naming_convention={"pk": "pk_%(table_name)s"})
    Table("books", made, Column("id", Integer, primary_key=True))
    return made


@pytest.fixture
def config(engine: Engine, metadata: MetaData, tmp_path: Path) -> Config:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    (folder / "script.py.mako").write_text(SCRIPT)
    made = Config()
    made.set_main_option("script_location", str(folder))
    made.attributes.update(engine=engine, metadata=metadata)
    return made


def works(engine: Engine, table: Table) -> None:
    """Insert and read an invalidation."""
    with engine.begin() as connection:
        target = Cache().tag("garden")
        Outbox(table, engine, engine).add(connection, (target,))
        connection.execute(insert(table), {"name": "x" * 300, "whole": False})
    with engine.connect() as connection:
        found = connection.execute(select(table.c.id, table.c.name, table.c.whole)).all()
    assert [tuple(each) for each in found] == [(1, "tag:garden", True), (2, "x" * 300, False)]


def test_autogenerate_creates_it_with_the_tables_of_the_host(
    engine: Engine, metadata: MetaData, config: Config
) -> None:
    table = outbox_table(metadata)
    command.revision(config, message="books", autogenerate=True)
    command.upgrade(config, "head")
    works(engine, table)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    command.downgrade(config, "base")
    with engine.connect() as connection:
        assert not engine.dialect.has_table(connection, "cache_outbox")


def test_a_migration_written_by_hand_creates_it(
    engine: Engine, metadata: MetaData, config: Config, tmp_path: Path
) -> None:
    (tmp_path / "migrations" / "versions" / "1.py").write_text("""
from alembic import op
from sqlalchemy import MetaData
from vitals.cache import outbox_table

revision, down_revision = "1", None

def upgrade():
    outbox_table(MetaData()).create(op.get_bind())
""")
    command.upgrade(config, "head")
    works(engine, outbox_table(metadata))


def test_create_all_creates_it_under_another_name(engine: Engine, metadata: MetaData) -> None:
    table = outbox_table(metadata, "shop_outbox")
    assert outbox_table(metadata, "shop_outbox") is table
    metadata.create_all(engine)
    works(engine, table)


def test_a_name_that_a_channel_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 40"):
        outbox_table(MetaData(), "x" * 41)
