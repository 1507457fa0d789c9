"""Tempo's HTTP API, as far as Grafana's data source and the viewer use it.

Source: https://grafana.com/docs/tempo/latest/api_docs/
"""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import StoreFiles
from stack.store.query import parameters
from stack.store.query.query_pool import QueryPool
from stack.store.query.scanner import QueryError
from stack.store.query.time_range import EVER, TimeRange
from stack.store.traces import tags, trace_json, traceql
from stack.store.traces.trace_search import read_trace, search

PROTOBUF = "application/protobuf"
_ID_DIGITS = 32
_MAX_LIMIT = 1_000
_MAX_SPANS = 50_000


class TempoApi:
    """The endpoints.

    Args:
        files: What is stored.
        queries: Runs the queries.
    """

    def __init__(self, files: StoreFiles, queries: QueryPool) -> None:
        self._files, self._queries = files, queries

    @property
    def routes(self) -> list[Route]:
        """Its routes."""
        return [
            Route("/api/echo", self._echo),
            Route("/api/traces/{trace_id}", self._trace),
            Route("/api/v2/traces/{trace_id}", self._trace),
            Route("/api/search", self._search),
            Route("/api/search/tags", self._tags),
            Route("/api/v2/search/tags", self._tags),
            Route("/api/search/tag/{tag:path}/values", self._values),
            Route("/api/v2/search/tag/{tag:path}/values", self._values),
        ]

    async def _echo(self, _request: Request) -> Response:
        return PlainTextResponse("echo")

    async def _trace(self, request: Request) -> Response:
        text = request.path_params["trace_id"]
        try:
            trace_id = bytes.fromhex(text.rjust(_ID_DIGITS, "0"))
        except ValueError:
            trace_id = b""
        if len(trace_id) * 2 != _ID_DIGITS:
            raise QueryError(f"{text[:80]}: a trace id has at most {_ID_DIGITS} hexadecimal digits")
        v2 = request.url.path.startswith("/api/v2/")
        protobuf = PROTOBUF in request.headers.get("accept", "")

        def read(deadline: Deadline) -> bytes:
            chunks = read_trace(self._files, trace_id, deadline)
            if not chunks:
                return b""
            spans = sum(chunk.counts[0] for chunk in chunks)
            if spans > _MAX_SPANS:
                raise QueryError(
                    f"the trace has {spans} spans, more than {_MAX_SPANS}: search them"
                )
            trace = trace_json.trace_of(chunks)
            if protobuf:
                return trace_json.as_protobuf_v2(trace) if v2 else trace.SerializeToString()
            return trace_json.as_json_v2(trace) if v2 else trace_json.as_json(trace)

        body = await self._queries.run("trace", read)
        if not body:
            return PlainTextResponse("trace not found", 404)
        return Response(body, media_type=PROTOBUF if protobuf else "application/json")

    async def _search(self, request: Request) -> Response:
        given = request.query_params
        time = _range(request)
        limit = parameters.number(given, "limit", 20, _MAX_LIMIT)
        per_set = parameters.number(given, "spss", 3, 100)
        shortest = parameters.duration(given, "minDuration")
        longest = parameters.duration(given, "maxDuration")
        if text := given.get("q", "").strip():
            query = traceql.parse(text)
        else:
            query = traceql.of_tags(given.get("tags", ""), shortest, longest)
        result = await self._queries.run(
            "search",
            lambda deadline: trace_json.search_result(
                search(self._files, query, time, limit, deadline), query, per_set
            ),
        )
        return JSONResponse(result)

    async def _tags(self, request: Request) -> Response:
        time = _range(request)
        found = await self._queries.run(
            "tags", lambda deadline: tags.names(self._files, time, deadline)
        )
        if not request.url.path.startswith("/api/v2/"):
            names = {name for scope, each in found.items() if scope != "event" for name in each}
            return JSONResponse({"tagNames": sorted(names)})
        wanted = request.query_params.get("scope", "")
        scopes = [
            {"name": scope, "tags": names}
            for scope, names in found.items()
            if not wanted or scope == wanted
        ]
        return JSONResponse({"scopes": scopes, "metrics": {}})

    async def _values(self, request: Request) -> Response:
        v2 = request.url.path.startswith("/api/v2/")
        tag = request.path_params["tag"]
        field = traceql.parse_field(tag if v2 or tag in traceql.INTRINSICS else f".{tag}")
        time = _range(request)
        found = await self._queries.run(
            "tags", lambda deadline: tags.values(self._files, field, time, deadline)
        )
        if v2:
            values = [{"type": kind, "value": value} for kind, value in found]
            return JSONResponse({"tagValues": values, "metrics": {}})
        return JSONResponse({"tagValues": [value for _, value in found]})


def _range(request: Request) -> TimeRange:
    given = request.query_params
    return TimeRange(parameters.seconds(given, "start", 0), parameters.seconds(given, "end", EVER))
