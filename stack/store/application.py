"""The application: OTLP and pushed profiles in, Tempo's, Loki's and Pyroscope's APIs out."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from stack.store import metrics
from stack.store.logs.endpoints import LokiApi
from stack.store.logs.tail import Tail
from stack.store.otlp.endpoints import OtlpApi
from stack.store.otlp.writer import Writer
from stack.store.page_access import PageAccess
from stack.store.partitions.deadline import QueryTimeoutError
from stack.store.partitions.store_files import Retention, StoreFiles
from stack.store.profiles.endpoints import ProfileApi
from stack.store.profiles.profile_file import ProfileFile
from stack.store.query.query_pool import QueryPool, TooManyQueriesError
from stack.store.query.scanner import QueryError
from stack.store.traces.endpoints import TempoApi

_VERSION = {"version": "3.0.0", "revision": "vitals", "branch": "", "goVersion": ""}
"""Grafana asks for it, to know what may be asked for."""


def build(
    folder: Path, retention: Retention, *, page_origins: Sequence[str] = (), timeout: float = 10.0
) -> Starlette:
    """Build the application.

    Args:
        folder: Where it keeps its files.
        retention: How much it keeps.
        page_origins: Origins of the viewer's pages, which may read.
        timeout: Seconds that a query may take.

    Raises:
        sqlite3.Error: The files cannot be written.
        OSError: The same.
    """
    files = StoreFiles(folder, retention)
    counts = metrics.StoreMetrics()
    counts.watch(lambda: (files.size, retention.size, files.oldest))
    queries, writer = QueryPool(timeout, counts), Writer(files)
    profiles = ProfileApi(ProfileFile(folder, retention), queries, counts)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        writer.stop()
        profiles.close()
        queries.close()
        files.close()

    async def ready(_request: Request) -> Response:
        return PlainTextResponse("ready")

    async def show_metrics(_request: Request) -> Response:
        return Response(counts.render(), media_type=metrics.CONTENT_TYPE)

    async def build_info(_request: Request) -> Response:
        return JSONResponse(_VERSION)

    return Starlette(
        routes=[
            *OtlpApi(writer, counts).routes,
            *TempoApi(files, queries).routes,
            *LokiApi(files, queries).routes,
            *profiles.routes,
            WebSocketRoute("/loki/api/v1/tail", Tail(files, queries).serve),
            Route("/ready", ready),
            Route("/metrics", show_metrics),
            Route("/api/status/buildinfo", build_info),
            Route("/loki/api/v1/status/buildinfo", build_info),
        ],
        middleware=[Middleware(PageAccess, page_origins=frozenset(page_origins))],
        exception_handlers={
            QueryError: _answer(400),
            QueryTimeoutError: _answer(504),
            TooManyQueriesError: _answer(429),
        },
        lifespan=lifespan,
    )


def _answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_request: Request, error: Exception) -> Response:
        headers = {"Retry-After": "1"} if status == 429 else None  # noqa: PLR2004
        return PlainTextResponse(str(error), status, headers)

    return answer
