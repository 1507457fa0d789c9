"""The pool of queries: a few threads, a bounded queue, and a deadline for each query."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from stack.store.metrics import StoreMetrics
from stack.store.partitions.deadline import Deadline

Result = TypeVar("Result")
_THREADS = 2
"""Few: while they compare in Python, the writer shares the interpreter with them."""
_MAX_WAITING = 32


class TooManyQueriesError(RuntimeError):
    """Too many queries wait: try again later."""


class QueryPool:
    """Runs queries in threads.

    Args:
        timeout: Seconds that a query may take, without the time it waits.
        metrics: Observes how long they take.
    """

    def __init__(self, timeout: float, metrics: StoreMetrics) -> None:
        self._timeout, self._metrics = timeout, metrics
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="query")
        self._waiting = 0

    async def run(self, api: str, query: Callable[[Deadline], Result]) -> Result:
        """The result of a query.

        Raises:
            TooManyQueriesError: Too many wait.
            QueryTimeoutError: It took too long.
        """
        if self._waiting >= _MAX_WAITING:
            raise TooManyQueriesError("too many queries at once: try again in a second")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._timed, api, query)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads, when their queries have."""
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, api: str, query: Callable[[Deadline], Result]) -> Result:
        started = time.perf_counter()
        try:
            return query(Deadline(self._timeout))
        finally:
            self._metrics.observe_query(api, time.perf_counter() - started)
