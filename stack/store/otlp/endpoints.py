"""OTLP over HTTP: accepts traces and logs, and answers when they are on the disk."""

import asyncio

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stack.store.metrics import StoreMetrics
from stack.store.otlp import messages
from stack.store.otlp.writer import BusyError, Stored, UnwritableError, Writer

_RETRY_SECONDS = {"busy": "1", "disk": "10"}
_ENCODINGS = frozenset({"", "identity", "gzip"})
_BODY_SECONDS = 10.0
_COMMIT_SECONDS = 30.0
_MAX_REASONS = 3


class _UnknownTypeError(ValueError):
    """A content type or coding that is not accepted."""


class _LateBodyError(ValueError):
    """A body that did not arrive in time."""


_STATUSES: dict[type[Exception], tuple[int, str]] = {
    messages.InvalidMessageError: (400, "invalid"),
    messages.TooLargeError: (413, "invalid"),
    _UnknownTypeError: (415, "invalid"),
    _LateBodyError: (408, "invalid"),
    BusyError: (429, "busy"),
    UnwritableError: (503, "disk"),
}
"""The status of each error, and the reason by which it is counted."""


class OtlpApi:
    """The endpoints.

    Args:
        writer: Stores what arrives.
        metrics: Counts it.
    """

    def __init__(self, writer: Writer, metrics: StoreMetrics) -> None:
        self._writer, self._metrics = writer, metrics

    @property
    def routes(self) -> list[Route]:
        """Its routes."""
        return [
            Route("/v1/traces", self._traces, methods=["POST"]),
            Route("/v1/logs", self._logs, methods=["POST"]),
        ]

    async def _traces(self, request: Request) -> Response:
        return await self._accept(request, "traces")

    async def _logs(self, request: Request) -> Response:
        return await self._accept(request, "logs")

    async def _accept(self, request: Request, signal: str) -> Response:
        content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            stored = await self._store(request, signal, content_type)
        except tuple(_STATUSES) as error:
            status, reason = _STATUSES[type(error)]
            self._metrics.count_refused(signal, reason)
            retry = _RETRY_SECONDS.get(reason)
            headers = {"Retry-After": retry} if retry else None
            return PlainTextResponse(str(error), status, headers)
        self._metrics.count_stored(signal, stored.count, len(stored.rejected))
        return Response(
            messages.encode(_response(signal, stored), content_type), media_type=content_type
        )

    async def _store(self, request: Request, signal: str, content_type: str) -> Stored:
        encoding = request.headers.get("content-encoding", "").strip().lower()
        if content_type not in {messages.PROTOBUF, messages.JSON}:
            raise _UnknownTypeError(f"send {messages.PROTOBUF} or {messages.JSON}")
        if encoding not in _ENCODINGS:
            raise _UnknownTypeError("the content coding must be gzip, or none")
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await messages.read(request)
        except (TimeoutError, ClientDisconnect) as error:
            raise _LateBodyError(f"no complete body within {_BODY_SECONDS:g} s") from error
        future = self._writer.submit(signal, body, content_type, encoding)
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise BusyError(f"not written within {_COMMIT_SECONDS:g} s") from error


def _response(
    signal: str, stored: Stored
) -> ExportTraceServiceResponse | ExportLogsServiceResponse:
    text = ""
    if stored.rejected:
        reasons = dict.fromkeys(stored.rejected)
        text = "; ".join(list(reasons)[:_MAX_REASONS])
    if signal == "traces":
        traces = ExportTraceServiceResponse()
        if text:
            traces.partial_success.rejected_spans = len(stored.rejected)
            traces.partial_success.error_message = text
        return traces
    logs = ExportLogsServiceResponse()
    if text:
        logs.partial_success.rejected_log_records = len(stored.rejected)
        logs.partial_success.error_message = text
    return logs
