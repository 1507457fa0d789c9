"""Rolling restarts and failovers of four hosts behind haproxy, under load.

python -m bench.hosts            all of them
python -m bench.hosts rolling    one: rolling, sentinel, cluster, pgbouncer

Needs haproxy, PostgreSQL, Redis and PgBouncer on PATH. Each scenario runs until 5,000 requests have
been answered and the event is over; the exit code says whether none failed and none was stale.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from bench.hosts.fleet import DELAY_SECONDS, KEEP_ALIVE_SECONDS, Fleet, fleet
from bench.hosts.traffic import PRODUCTS, Traffic
from service.auth import AccessTokens
from service.db import migrate
from service.db.database import connect
from service.products.tables import Product
from service.settings import Settings
from service.users.tables import Role, User
from tests.redis_groups import MASTER_NAME, Cluster, SentinelGroup
from tests.servers import PgBouncer, Postgres, Redis

REQUESTS = 5_000
POOL = 5
PASSWORD = "only-for-this-run"  # noqa: S105 - of servers that end with it
Event = Callable[[Fleet], None]


def main() -> None:
    """Run the scenarios; exit with those that failed."""
    names = sys.argv[1:] or [*SCENARIOS]
    if unknown := {*names} - {*SCENARIOS}:
        sys.exit(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    bad = [name for name in names if not SCENARIOS[name]()]
    sys.exit(f"failed or stale: {', '.join(bad)}" if bad else 0)


def _rolling() -> bool:
    with ExitStack() as stack:
        postgres, redis = _postgres(stack), Redis()
        stack.callback(redis.close)

        def restart_all(running: Fleet) -> None:
            for port in running.ports:
                running.restart(port)

        return _run(stack, "rolling", postgres.database(), redis.url, restart_all)


def _sentinel() -> bool:
    with ExitStack() as stack:
        postgres, group = _postgres(stack), SentinelGroup(password=PASSWORD)
        stack.callback(group.close)

        def kill_master(_running: Fleet) -> None:
            before = group.master
            before.kill()
            while group.master is before:
                time.sleep(0.05)
            time.sleep(5)

        url = f"redis+sentinel://:{PASSWORD}@127.0.0.1:{group.port}/{MASTER_NAME}"
        return _run(stack, "sentinel", postgres.database(), url, kill_master)


def _cluster() -> bool:
    with ExitStack() as stack:
        postgres, cluster = _postgres(stack), Cluster()
        stack.callback(cluster.close)

        def kill_and_freeze(_running: Fleet) -> None:
            cluster.nodes[0].kill()
            time.sleep(5)
            cluster.start()
            cluster.nodes[1].pause()
            time.sleep(5)
            cluster.nodes[1].resume()
            time.sleep(3)

        url = f"redis+cluster://127.0.0.1:{cluster.port}"
        return _run(stack, "cluster", postgres.database(), url, kill_and_freeze)


def _pgbouncer() -> bool:
    with ExitStack() as stack:
        postgres = _postgres(stack)
        bouncer, redis = PgBouncer(postgres, sessions=POOL), Redis()
        stack.callback(redis.close)
        stack.callback(bouncer.close)

        def cut_off_redis(_running: Fleet) -> None:
            redis.kill()  # each read is a query now, and invalidations go by NOTIFY
            time.sleep(5)
            redis.start()
            time.sleep(3)

        url = postgres.database()
        more = {"database_direct_url": url}
        return _run(stack, "pgbouncer", bouncer.of(url), redis.url, cut_off_redis, **more)


SCENARIOS: dict[str, Callable[[], bool]] = {
    "rolling": _rolling,
    "sentinel": _sentinel,
    "cluster": _cluster,
    "pgbouncer": _pgbouncer,
}


def _postgres(stack: ExitStack) -> Postgres:
    server = Postgres()
    stack.callback(server.close)
    return server


def _run(stack: ExitStack, name: str, database: str, redis: str, event: Event, **more: Any) -> bool:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = Settings(
        database_url=database,
        redis_url=redis,
        jwt_key_file=folder / "jwt-key",
        pool_size=POOL,
        shutdown_delay=DELAY_SECONDS,
        keep_alive_timeout=KEEP_ALIVE_SECONDS,
        **more,
    )
    products, login = asyncio.run(_prepare(settings))
    running = stack.enter_context(fleet(settings))
    return asyncio.run(_measure(name, running, Traffic(running.url, products, login), event))


async def _prepare(settings: Settings) -> tuple[list[int], dict[str, str]]:
    database = connect(settings)
    await migrate.migrate(database)
    admin = User(email="a@example.com", name="Admin", password_hash="", role=Role.ADMIN)
    products = [
        Product(name="Oak desk", category="office", price_cents=1000, stock=10)
        for _ in range(PRODUCTS)
    ]
    async with database.writing() as session:
        session.add_all([admin, *products])
    await database.close()
    token = AccessTokens(settings.jwt_keys(), settings.token_lifetime).issue(admin)
    return [each.id for each in products], {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def _while_running(traffic: Traffic) -> AsyncIterator[None]:
    running = asyncio.create_task(traffic.run())
    try:
        await asyncio.sleep(2)
        yield
    finally:
        traffic.end()
        await running


async def _measure(name: str, running: Fleet, traffic: Traffic, event: Event) -> bool:
    started = time.monotonic()
    async with _while_running(traffic):
        await asyncio.to_thread(event, running)
        while traffic.requests < REQUESTS:  # noqa: ASYNC110 - a count, not an event
            await asyncio.sleep(0.1)
    result = {
        "bench": f"hosts {name}",
        "requests": traffic.requests,
        "failed": traffic.failed,
        "stale": traffic.stale,
        "seconds": round(time.monotonic() - started, 1),
        "answers": dict(traffic.answers),
    }
    print(json.dumps(result))
    return not traffic.failed and not traffic.stale


if __name__ == "__main__":
    main()
