"""Pyroscope's HTTP API, as far as the kit and the viewer use it: push, render, labels."""

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stack.store.metrics import StoreMetrics
from stack.store.otlp import messages
from stack.store.otlp.writer import BusyError, UnwritableError
from stack.store.profiles import flamebearer
from stack.store.profiles.pprof import profiles_of
from stack.store.profiles.profile_file import LABELS, ProfileFile
from stack.store.query import parameters
from stack.store.query.query_pool import QueryPool
from stack.store.query.scanner import QueryError

PUSH = "/push.v1.PusherService/Push"
SIGNAL = "profiles"
_MAX_WAITING = 8
"""Requests that may wait until they are written."""
_BODY_SECONDS = 10.0
_HOUR = 3_600 * parameters.SECOND
_TYPES = frozenset({"application/proto", messages.PROTOBUF})
_QUERY = re.compile(r"\s*[\w:]*\s*(?:\{(.*)\})?\s*", re.DOTALL)
_MATCHER = re.compile(r'\s*(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')


class _UnknownTypeError(ValueError):
    """A content type that is not accepted."""


_STATUSES: dict[type[Exception], tuple[int, str]] = {
    messages.InvalidMessageError: (400, "invalid"),
    messages.TooLargeError: (413, "invalid"),
    _UnknownTypeError: (415, "invalid"),
    TimeoutError: (408, "invalid"),
    ClientDisconnect: (408, "invalid"),
    BusyError: (429, "busy"),
    UnwritableError: (503, "disk"),
}
"""The status of each error, and the reason by which it is counted."""
_RETRY_SECONDS = {"busy": "1", "disk": "10"}


class ProfileApi:
    """The endpoints.

    Args:
        file: Keeps the profiles.
        queries: Runs queries.
        metrics: Counts what arrives.
    """

    def __init__(self, file: ProfileFile, queries: QueryPool, metrics: StoreMetrics) -> None:
        self._file, self._queries, self._metrics = file, queries, metrics
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="profiles")
        self._waiting = 0

    @property
    def routes(self) -> list[Route]:
        """Its routes."""
        return [
            Route(PUSH, self._push, methods=["POST"]),
            Route("/pyroscope/render", self._render),
            Route("/pyroscope/render-diff", self._render_difference),
            Route("/pyroscope/label-values", self._label_values),
        ]

    def close(self) -> None:
        """Write what waits, and end."""
        self._writer.shutdown()

    async def _push(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            await self._store(request, kind)
        except tuple(_STATUSES) as error:
            status, reason = _STATUSES[type(error)]
            self._metrics.count_refused(SIGNAL, reason)
            retry = _RETRY_SECONDS.get(reason)
            return PlainTextResponse(str(error), status, {"Retry-After": retry} if retry else None)
        return Response(b"", media_type=kind)

    async def _store(self, request: Request, kind: str) -> None:
        if kind not in _TYPES:
            raise _UnknownTypeError("send application/proto")
        if self._waiting >= _MAX_WAITING:
            raise BusyError("too many profiles wait: try again in a second")
        self._waiting += 1
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await messages.read(request)
            loop = asyncio.get_running_loop()
            encoding = request.headers.get("content-encoding", "").strip().lower()
            await loop.run_in_executor(self._writer, self._write, body, encoding)
        except sqlite3.Error as error:
            raise UnwritableError(f"cannot be written: {error}") from error
        finally:
            self._waiting -= 1

    def _write(self, body: bytes, encoding: str) -> None:
        profiles = list(profiles_of(messages.decompress(body, encoding)))
        stored = self._file.write(profiles)
        self._metrics.count_stored(SIGNAL, stored, len(profiles) - stored)

    async def _render(self, request: Request) -> Response:
        asked = request.query_params
        matched, start, end = _selection(asked, "query", "from", "until")
        most = parameters.number(asked, "maxNodes", flamebearer.MAX_NODES, flamebearer.MAX_NODES)
        return JSONResponse(
            await self._queries.run(
                "profiles",
                lambda within: flamebearer.single(
                    self._file.read(matched, start, end, within), most, within
                ),
            )
        )

    async def _render_difference(self, request: Request) -> Response:
        asked = request.query_params
        left = _selection(asked, "leftQuery", "leftFrom", "leftUntil")
        right = _selection(asked, "rightQuery", "rightFrom", "rightUntil")
        most = parameters.number(asked, "maxNodes", flamebearer.MAX_NODES, flamebearer.MAX_NODES)
        return JSONResponse(
            await self._queries.run(
                "profiles",
                lambda within: flamebearer.double(
                    self._file.read(*left, within), self._file.read(*right, within), most, within
                ),
            )
        )

    async def _label_values(self, request: Request) -> Response:
        label = request.query_params.get("label", "")
        if label not in LABELS:
            raise QueryError(f"label={label}: one of {', '.join(LABELS)}")
        start, end = _times(request.query_params, "from", "until")
        values = await self._queries.run(
            "profiles", lambda _: list(self._file.values(label, start, end))
        )
        return JSONResponse(values)


def _selection(
    asked: Mapping[str, str], query: str, start: str, end: str
) -> tuple[dict[str, str], float, float]:
    """What a query selects: values by label, and a time.

    Raises:
        QueryError: It is none.
    """
    text = asked.get(query, "")
    found = _QUERY.fullmatch(text)
    if found is None:
        raise QueryError(f'{query}={text}: must be such as wall{{service_name="shop"}}')
    inside, at, matched = found[1] or "", 0, {}
    while inside[at:].strip():
        pair = _MATCHER.match(inside, at)
        if pair is None or pair[1] not in LABELS:
            raise QueryError(
                f'{query}={text}: matchers are LABEL="VALUE" of {", ".join(LABELS)}, with commas'
            )
        matched[pair[1]] = re.sub(r"\\(.)", r"\1", pair[2])
        at = pair.end()
    return matched, *_times(asked, start, end)


def _times(asked: Mapping[str, str], start: str, end: str) -> tuple[float, float]:
    now = parameters.now()
    first = parameters.seconds(asked, start, now - _HOUR)
    last = parameters.seconds(asked, end, now)
    return first / parameters.SECOND, last / parameters.SECOND
