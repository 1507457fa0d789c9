"""Reader: asks a server on one connection, and keeps the last answers.

Each part is asked for by one command that reads no key. A part that fails, as for a missing right,
leaves the others as they are; a server that does not answer is down, and then nothing is known of
it.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, time
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ResponseError
from redis.retry import Retry

from rules.redis_metrics import (
    REDIS_PART_READ,
    REDIS_PING_SECONDS,
    REDIS_READ_FAILURES,
    REDIS_READ_SECONDS,
    REDIS_UP,
)
from stack.readings.readings import ReadingMetrics, Readings
from stack.readings.sample import Sample
from stack.redis_reader.server import Server
from stack.redis_reader.slow_log import NEWEST, SlowLog

TIMEOUT = 5.0
"""Seconds for one answer, and for the connect."""
INFO, SLOW_LOG, PING = "info", "slow_log", "ping"
"""The parts."""


class Reader:
    """Reads one server.

    Args:
        url: ``redis://USER@HOST:PORT``, or ``rediss://`` for TLS.
        password: Of the user, if it has one.
        report: Called with a line when reading begins to fail, and when it succeeds again.
    """

    def __init__(self, url: str, password: str | None, report: Callable[[str], None]) -> None:
        self._client = Redis.from_url(
            url,
            password=password,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            single_connection_client=True,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        # redis-py would join the arguments of an entry to one text.
        self._client.set_response_callback("SLOWLOG GET", _as_sent)
        parts = urlsplit(url)
        address = f"{parts.hostname}:{parts.port or 6379}"
        self._readings = Readings(
            ReadingMetrics(REDIS_UP, REDIS_READ_SECONDS, REDIS_READ_FAILURES, REDIS_PART_READ),
            (INFO, SLOW_LOG, PING),
            f"Redis at {address}",
            report,
            (address,),
        )
        self._server, self._slow_log = Server(), SlowLog()
        self._now = time()

    async def read(self) -> None:
        """Read all parts; never raises."""
        started = monotonic()
        try:
            async with asyncio.timeout(3 * TIMEOUT):
                await self._read_part(PING, self._read_ping)
                await self._read_part(INFO, self._read_info)
                await self._read_part(SLOW_LOG, self._read_slow_log)
        except Exception as error:  # noqa: BLE001  # whatever it is, the server is not read
            self._readings.disconnect(error)
            await self.close()  # an answer that comes late would be taken for the next one
            return
        self._readings.end(started)

    def samples(self) -> list[Sample]:
        """What is known now."""
        return self._readings.samples()

    async def close(self) -> None:
        """Close its connection."""
        with suppress(Exception):
            async with asyncio.timeout(TIMEOUT):
                await self._client.aclose()

    async def _read_part(self, name: str, read: Callable[[], Any]) -> None:
        try:
            self._readings.keep(name, await read())
        except (ResponseError, BusyLoadingError) as error:  # while it loads, INFO is answered
            self._readings.lose(name, error)

    async def _read_ping(self) -> list[Sample]:
        started = monotonic()
        await self._client.ping()
        return [Sample(REDIS_PING_SECONDS, (), monotonic() - started)]

    async def _read_info(self) -> list[Sample]:
        found = await self._client.info("everything")
        self._slow_log.restarted(str(found.get("run_id", "")))
        self._now = found.get("server_time_usec", time() * 1e6) / 1e6
        return self._server.read(found)

    async def _read_slow_log(self) -> list[Sample]:
        newest = await self._client.slowlog_get(1)
        entries = newest
        if missing := self._slow_log.missing(newest):
            entries = await self._client.slowlog_get(min(NEWEST, missing))
        return self._slow_log.read(entries, self._now)


def _as_sent(response: Any, **kwargs: Any) -> Any:  # noqa: ARG001 - redis-py's protocol
    return response
