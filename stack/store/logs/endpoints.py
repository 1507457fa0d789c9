"""Loki's HTTP API, as far as Grafana's data source and the viewer use it.

Source: https://grafana.com/docs/loki/latest/reference/loki-http-api/
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stack.store.logs import logql
from stack.store.logs.log_search import FoundLine, Series, count_lines, find_lines, label_sets
from stack.store.logs.logql import Constant, LogQuery, MetricQuery
from stack.store.partitions.deadline import Deadline
from stack.store.partitions.store_files import StoreFiles
from stack.store.query import parameters
from stack.store.query.query_pool import QueryPool
from stack.store.query.scanner import QueryError
from stack.store.query.time_range import Steps, TimeRange

CATEGORIZE = "categorize-labels"
_ENCODING_FLAGS = "X-Loki-Response-Encoding-Flags"
_MAX_LIMIT = 5_000
_HOUR = 3_600 * parameters.SECOND
_LABELS_RANGE = 6 * _HOUR
_MAX_FORM = 64_000
_encode = msgspec.json.Encoder().encode


class LokiApi:
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
            Route("/loki/api/v1/query_range", self._query_range),
            Route("/loki/api/v1/query", self._query),
            Route("/loki/api/v1/labels", self._labels),
            Route("/loki/api/v1/label", self._labels),
            Route("/loki/api/v1/label/{name}/values", self._values),
            Route("/loki/api/v1/series", self._series),
            Route("/loki/api/v1/index/stats", self._statistics),
        ]

    async def _query_range(self, request: Request) -> Response:
        given = request.query_params
        query = logql.parse(given.get("query", ""))
        time = _range(given, _HOUR)
        if isinstance(query, MetricQuery):
            step = max((time.end - time.start) // 250, parameters.SECOND)
            steps = Steps(time.start, time.end, parameters.duration(given, "step", step))
            if steps.step <= 0 or time.end < time.start:
                raise QueryError("step must be longer than 0, and end after start")
            series = await self._queries.run(
                "logs_metric",
                lambda deadline: count_lines(self._files, query, steps, deadline),
            )
            return _success("matrix", [_matrix(each) for each in series])
        if isinstance(query, Constant):
            return _success("matrix", [])
        return await self._lines(request, query, time)

    async def _query(self, request: Request) -> Response:
        given = request.query_params
        query = logql.parse(given.get("query", ""))
        moment = parameters.seconds(given, "time", parameters.now())
        if isinstance(query, Constant):
            value = [moment / parameters.SECOND, _number(query.value)]
            return _success("vector", [{"metric": {}, "value": value}])
        if isinstance(query, LogQuery):
            return await self._lines(request, query, TimeRange(moment - _HOUR, moment))
        steps = Steps(moment, moment, query.window)
        series = await self._queries.run(
            "logs_metric",
            lambda deadline: count_lines(self._files, query, steps, deadline),
        )
        return _success(
            "vector",
            [
                {"metric": each.labels, "value": _point(each.points[-1])}
                for each in series
                if each.points
            ],
        )

    async def _lines(self, request: Request, query: LogQuery, time: TimeRange) -> Response:
        given = request.query_params
        limit = parameters.number(given, "limit", 100, _MAX_LIMIT)
        direction = given.get("direction", "backward").lower()
        if direction not in {"backward", "forward"}:
            raise QueryError(f"direction={direction}: must be backward or forward")
        found = await self._queries.run(
            "logs",
            lambda deadline: find_lines(
                self._files, query, time, limit, deadline, forward=direction == "forward"
            ),
        )
        flags = {flag.strip() for flag in request.headers.get(_ENCODING_FLAGS, "").split(",")}
        categorize = CATEGORIZE in flags
        extra = {"encodingFlags": [CATEGORIZE]} if categorize else {}
        warnings = [found.partial] if found.partial else []
        return _success("streams", streams_of(found.lines, categorize=categorize), extra, warnings)

    async def _labels(self, request: Request) -> Response:
        sets = await self._label_sets(request, "query")
        return _data(sorted({name for labels in sets for name in labels}))

    async def _values(self, request: Request) -> Response:
        name = request.path_params["name"]
        sets = await self._label_sets(request, "query")
        return _data(sorted({labels[name] for labels in sets if name in labels}))

    async def _series(self, request: Request) -> Response:
        return _data(await self._label_sets(request, "match[]", "match"))

    async def _statistics(self, request: Request) -> Response:
        """How much a query reads, which Grafana shows before it is sent."""
        given = request.query_params
        query = logql.parse_selector(given.get("query", ""))
        time = _range(given, _HOUR)
        window = max(time.end - time.start, 1)
        steps = Steps(time.end, time.end, window)

        def count(deadline: Deadline) -> dict[str, int]:
            streams = label_sets(self._files, [query], time, deadline)
            sums = [
                count_lines(
                    self._files,
                    MetricQuery(function, query, window, ()),
                    steps,
                    deadline,
                )
                for function in ("count_over_time", "bytes_over_time")
            ]
            entries, size = (int(s[0].points[0][1]) if s and s[0].points else 0 for s in sums)
            chunks = len(self._files.logs(time.start, time.end))
            return {"streams": len(streams), "chunks": chunks, "bytes": size, "entries": entries}

        return _json(await self._queries.run("logs_metric", count))

    async def _label_sets(self, request: Request, *names: str) -> list[dict[str, str]]:
        given = request.query_params
        texts = [text for name in names for text in given.getlist(name) if text.strip()]
        queries = [logql.parse_selector(text) for text in texts if text.strip() != "{}"]
        time = _range(given, _LABELS_RANGE)
        return await self._queries.run(
            "labels", lambda deadline: label_sets(self._files, queries, time, deadline)
        )


def streams_of(lines: Sequence[FoundLine], *, categorize: bool) -> list[dict[str, Any]]:
    """Lines as Loki groups them.

    Args:
        lines: The lines, in the order of the result.
        categorize: Whether structured metadata stand beside each line, rather than being labels.
    """
    found: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for line in lines:
        if categorize:
            labels = line.labels
            value = [str(line.time), line.body, {"structuredMetadata": line.metadata}]
        else:
            labels = {**line.metadata, **line.labels}
            value = [str(line.time), line.body]
        found.setdefault(tuple(sorted(labels.items())), []).append(value)
    return [{"stream": dict(labels), "values": values} for labels, values in found.items()]


def _range(given: QueryParams, before: int) -> TimeRange:
    now = parameters.now()
    end = parameters.seconds(given, "end", now)
    since = parameters.duration(given, "since", before)
    return TimeRange(parameters.seconds(given, "start", end - since), end)


def _success(
    kind: str,
    result: list[Any],
    extra: dict[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> Response:
    data = {"resultType": kind, "result": result, "stats": {}, **(extra or {})}
    return _json({"status": "success", "data": data} | ({"warnings": warnings} if warnings else {}))


def _data(data: Any) -> Response:
    return _json({"status": "success", "data": data})


def _json(content: Any) -> Response:
    return Response(_encode(content), media_type="application/json")


def _matrix(series: Series) -> dict[str, Any]:
    return {"metric": series.labels, "values": [_point(each) for each in series.points]}


def _point(point: tuple[int, float]) -> list[Any]:
    return [point[0] / parameters.SECOND, _number(point[1])]


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
