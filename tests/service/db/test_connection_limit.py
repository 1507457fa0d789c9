"""The service starts only if PostgreSQL allows the connections of all its processes."""

import logging
from pathlib import Path
from typing import Any

import pytest

from service.db import connection_limit
from service.db.connection_limit import BESIDE_POOL, Limit, TooManyConnectionsError
from service.db.database import connect
from tests.servers import PgBouncer, Postgres
from tests.service.running import running, settings_for

SERVER = Limit(most=100, reserved=3, of_role=-1, of_database=-1, others=0)


@pytest.mark.parametrize(
    ("given", "limit", "fits"),
    [
        ({"pool_size": 20, "workers": 4}, SERVER, True),  # 4 x 22 = 88 of 97
        ({"pool_size": 20, "workers": 5}, SERVER, False),
        ({"pool_size": 20, "workers": 2, "instances": 3}, SERVER, False),
        ({"pool_size": 10, "pool_overflow": 10, "workers": 5}, SERVER, False),
        ({"pool_size": 95}, SERVER, True),
        ({"pool_size": 96}, SERVER, False),
        ({"pool_size": 20}, Limit(100, 3, 22, -1, 0), True),
        ({"pool_size": 20}, Limit(100, 3, 21, -1, 0), False),
        ({"pool_size": 20}, Limit(100, 3, -1, 21, 0), False),
    ],
)
def test_connections_of_all_processes_are_compared(
    tmp_path: Path,
    given: dict[str, Any],
    limit: Limit,
    fits: bool,  # noqa: FBT001
) -> None:
    settings = settings_for(tmp_path, **given)
    of_process = settings.pool_size + settings.pool_overflow + BESIDE_POOL
    if fits:
        connection_limit.compare(settings, of_process, limit)
        return
    with pytest.raises(TooManyConnectionsError, match=f"allows {limit.allowed} ") as refused:
        connection_limit.compare(settings, of_process, limit)
    _, found, size = str(refused.value).partition("SERVICE_POOL_SIZE=")
    if found:  # the advice fits, and one more does not
        best = int(size.split()[0])
        for size_, allowed in ((best, True), (best + 1, False)):
            changed = settings.model_copy(update={"pool_size": size_})
            of_process = size_ + settings.pool_overflow + BESIDE_POOL
            if allowed:
                connection_limit.compare(changed, of_process, limit)
            else:
                with pytest.raises(TooManyConnectionsError):
                    connection_limit.compare(changed, of_process, limit)


def test_other_roles_are_worth_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(tmp_path, workers=4)
    with caplog.at_level(logging.WARNING):
        connection_limit.compare(settings, 22, Limit(100, 3, -1, -1, others=9))
        assert not caplog.records
        connection_limit.compare(settings, 22, Limit(100, 3, -1, -1, others=10))
    assert "other roles have 10 now" in caplog.text


@pytest.mark.anyio
@pytest.mark.servers
async def test_the_service_does_not_start_with_more_than_the_server_allows(
    postgres: Postgres, pgbouncer: PgBouncer, tmp_path: Path
) -> None:
    url = postgres.database()
    name = url.rpartition("/")[2]
    async with running(settings_for(tmp_path, url, pool_size=9)):
        pass
    postgres.sql(f'ALTER DATABASE "{name}" CONNECTION LIMIT 10')
    with pytest.raises(TooManyConnectionsError, match=r"allows 10 .*SERVICE_POOL_SIZE=8 or"):
        async with running(settings_for(tmp_path, url, pool_size=9)):
            pass
    given = settings_for(tmp_path, pgbouncer.of(url), pool_size=9)  # it has 3 connections
    database = connect(given)
    await connection_limit.check(database, given)
    await database.close()
