"""The live tail: a WebSocket on which lines arrive as they are stored.

Source: https://grafana.com/docs/loki/latest/reference/loki-http-api/#stream-logs
"""

import asyncio
from contextlib import suppress
from functools import partial

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from stack.store.logs import logql
from stack.store.logs.endpoints import streams_of
from stack.store.logs.log_search import find_lines
from stack.store.partitions.deadline import QueryTimeoutError
from stack.store.partitions.store_files import StoreFiles
from stack.store.query import parameters
from stack.store.query.query_pool import QueryPool, TooManyQueriesError
from stack.store.query.scanner import QueryError
from stack.store.query.time_range import EVER, TimeRange

MAX_TAILS = 10
_PAUSE = 0.5
"""Seconds between two looks at what was stored."""
_MAX_LINES = 1_000
_OVERLAP = 10 * parameters.SECOND
"""How late a line may arrive and still be shown."""
_POLICY, _TRY_AGAIN = 1008, 1013
_encode = msgspec.json.Encoder().encode


class Tail:
    """The endpoint.

    Args:
        files: What is stored.
        queries: Runs the queries.
    """

    def __init__(self, files: StoreFiles, queries: QueryPool) -> None:
        self._files, self._queries = files, queries
        self._open = 0

    async def serve(self, socket: WebSocket) -> None:
        """Send lines until the other side leaves."""
        try:
            query = logql.parse_selector(socket.query_params.get("query", ""))
            start = parameters.seconds(socket.query_params, "start", parameters.now())
        except QueryError as error:
            await socket.accept()
            await socket.close(_POLICY, str(error)[:120])
            return
        await socket.accept()
        if self._open >= MAX_TAILS:
            await socket.close(_TRY_AGAIN, f"at most {MAX_TAILS} tails at once")
            return
        self._open += 1
        try:
            await self._send(socket, query, start)
        finally:
            self._open -= 1

    async def _send(self, socket: WebSocket, query: logql.LogQuery, start: int) -> None:
        left = asyncio.create_task(_wait_for_end(socket))
        sent: dict[tuple[int, str], None] = {}
        try:
            while not left.done():
                since = max(start, parameters.now() - _OVERLAP)
                look = partial(find_lines, self._files, query, TimeRange(since, EVER), _MAX_LINES)
                try:
                    found = await self._queries.run("tail", look)
                except (QueryTimeoutError, TooManyQueriesError) as error:
                    await socket.close(_TRY_AGAIN, str(error)[:120])
                    return
                new = [line for line in reversed(found.lines) if (line.time, line.body) not in sent]
                sent |= dict.fromkeys((line.time, line.body) for line in new)
                for key in [key for key in sent if key[0] < since]:
                    del sent[key]
                if new:
                    body = {"streams": streams_of(new, categorize=False), "dropped_entries": []}
                    await socket.send_text(_encode(body).decode())
                await asyncio.wait({left}, timeout=_PAUSE)
        except WebSocketDisconnect:
            pass
        finally:
            left.cancel()
            with suppress(asyncio.CancelledError):
                await left


async def _wait_for_end(socket: WebSocket) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()
