"""The server: its version and role, and whether a pooler is in between."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, text

from rules.postgres_metrics import PG_INFO
from stack.readings.sample import Sample

WAL_VERSION = 14
"""The first version with pg_stat_wal."""
CHECKPOINTER_VERSION = 17
"""The first version with pg_stat_checkpointer."""

_INFO_SQL = text("SELECT current_setting('server_version'), pg_backend_pid(), pg_is_in_recovery()")


def version_of(connection: Connection) -> int:
    """The major version."""
    return int((connection.dialect.server_version_info or (0,))[0])


def read_info(connection: Connection) -> Iterator[Sample]:
    """The version, the role, and whether there is a pooler, which makes up the PID of a session."""
    version, pid, standby = connection.execute(_INFO_SQL).one()
    driver: Any = connection.connection.driver_connection
    labels = (
        version.partition(" ")[0],
        str(driver.get_server_pid() != pid).lower(),
        "standby" if standby else "primary",
    )
    yield Sample(PG_INFO, labels, 1.0)
