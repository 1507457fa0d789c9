"""The line to Redis: commands that never take long, and a breaker before them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from service.cache.backend import Patience, StoreUnavailableError
from service.cache.breaker import Breaker

log = logging.getLogger(__name__)
R = TypeVar("R")

CONNECTIONS = 16
SLOW_SHARE = 0.5
"""An answer later than this share of the timeout is used, but the breaker counts a failure."""


class Line:
    """Asks Redis; gives up after ``timeout`` seconds, and for a while after repeated failures.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        password: Used when the URL has none.
        timeout: Seconds.
        changed: Called with True when Redis is left alone and False when it answers again.
    """

    def __init__(
        self, url: str, password: str | None, timeout: float, changed: Callable[[bool], None]
    ) -> None:
        options: dict[str, Any] = {} if password is None else {"password": password}
        # redis-py retries ten times by default, which would turn 250 ms into seconds.
        self._pool: Any = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            **options,
        )
        self._client: Any = Redis(connection_pool=self._pool)
        self._timeout = timeout
        self._changed = changed
        self._reason = ""
        self._breaker = Breaker(self._tell)

    @property
    def is_open(self) -> bool:
        """Whether Redis is left alone at the moment."""
        return self._breaker.is_open

    async def send(self, *command: str | bytes | int, patience: Patience | None = None) -> Any:
        """Send one command.

        Raises:
            StoreUnavailableError: Redis is left alone, is late, or refuses.
        """
        return await self._ask(patience, lambda: self._client.execute_command(*command))

    async def send_all(
        self, *commands: tuple[str | bytes | int, ...], patience: Patience | None = None
    ) -> list[Any]:
        """Send several commands at once and return their answers.

        Raises:
            StoreUnavailableError: As above, also if Redis refuses one of them.
        """
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return await self._ask(patience, pipe.execute)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.disconnect()

    async def _ask(self, patience: Patience | None, command: Callable[[], Awaitable[R]]) -> R:
        if not self._breaker.admits():
            raise StoreUnavailableError("bypass")
        patience = patience or Patience(self._timeout)
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            async with asyncio.timeout(max(patience.left, 0)):
                answer = await command()
        except ResponseError as error:  # full or read-only: Redis is well, it only refuses
            self._breaker.succeeded()
            log.debug("redis refused a command: %s", error)
            raise StoreUnavailableError("error") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(f"{type(error).__name__}: {error}")
            raise StoreUnavailableError("error") from error
        except BaseException:
            self._breaker.abandoned()
            raise
        finally:
            took = clock() - started
            patience.left -= took
        if took > self._timeout * SLOW_SHARE:
            self._failed("it is slow")
        else:
            self._breaker.succeeded()
        return answer

    def _failed(self, reason: str) -> None:
        self._reason = reason
        self._breaker.failed()

    def _tell(self, open_: bool) -> None:  # noqa: FBT001 - the breaker's callback
        if open_:
            log.warning("redis fails and is left alone for a moment (%s)", self._reason)
        else:
            log.warning("redis answers again")
        self._changed(open_)
