"""Measures requests of the library requests where its adapters send them.

Each redirect counts by itself, and each attempt of what urllib3 repeats (``max_retries``).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from weakref import ref

from vitals.http_client.class_patches import MEASURED, RECORDERS, Patch
from vitals.http_client.outgoing_call import OutgoingCall
from vitals.http_client.recorder import HttpClientRecorder, Server
from vitals.http_client.urllib3_attempts import Attempts, follow_attempts
from vitals.watchers import Watchers

_WATCHERS = "vitals_recorders"
"""The attribute of a measured adapter that holds where it is recorded."""


def measure(session: Any, recorder: HttpClientRecorder) -> None:
    """Measure the requests of one ``requests.Session``, through the adapters that it has now."""
    for adapter in session.adapters.values():
        held = vars(adapter)
        if _WATCHERS not in held:
            held[_WATCHERS] = Watchers()
            held["send"] = _own(adapter)
        held[_WATCHERS].add(recorder)


def _own(adapter: Any) -> Callable[..., Any]:
    """An adapter's method that measures; it does not hold the adapter."""
    kind, held, reference = type(adapter), vars(adapter).get("send"), ref(adapter)
    recorders: Watchers[HttpClientRecorder] = vars(adapter)[_WATCHERS]

    def send(request: Any, *args: Any, **options: Any) -> Any:
        # Found anew with each request: a test may have replaced the method of the class.
        inner = held or kind.send.__get__(reference())
        recorder = recorders.current()
        if recorder is None:
            return inner(request, *args, **options)
        follow_attempts(reference())
        return _send(recorder, inner, request, args, options)

    return send


def _begin(recorder: HttpClientRecorder, request: Any) -> OutgoingCall | None:
    url = request.url or ""
    path = url.find("/", len("https://"))
    where = _server(url[:path] if path > 0 else url)
    if where is None:  # the adapter will refuse it
        return None
    call = recorder.start("requests", request.method or "", where, request.headers)
    if call is not None:
        call.propagate(request.headers)
    return call


@lru_cache(maxsize=256)
def _server(origin: str) -> Server | None:
    """Scheme, host and port of a URL, up to its path; None if it is invalid."""
    try:
        url = urlsplit(origin)
        port = url.port
    except ValueError:
        return None
    return url.scheme, url.hostname, port


def _send(
    recorder: HttpClientRecorder,
    send: Callable[..., Any],
    request: Any,
    args: tuple[Any, ...],
    options: dict[str, Any],
) -> Any:
    call = _begin(recorder, request)
    if call is None:
        return send(request, *args, **options)
    token, attempts = MEASURED.set(True), Attempts(call)
    try:
        with attempts:
            response = send(request, *args, **options)
    except BaseException as error:
        attempts.call.failed(error)
        raise
    finally:
        MEASURED.reset(token)
        call.restore(request.headers)
    call = attempts.call
    call.answered(response.status_code, response.headers)
    _follow(call, response)
    return response


def _follow(call: OutgoingCall, response: Any) -> None:
    """Follow a response to the end of its body; a response that is dropped drops the call too."""
    kind, reference = type(response), ref(response)

    def iter_content(*args: Any, **options: Any) -> Iterator[Any]:
        parts = kind.iter_content(reference(), *args, **options)
        return _followed(call, parts)

    def close() -> None:
        try:
            kind.close(reference())
        finally:
            call.finish()

    vars(response)["iter_content"] = iter_content
    vars(response)["close"] = close


def _followed(call: OutgoingCall, parts: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from parts
    except GeneratorExit:  # the caller stopped reading
        raise
    except BaseException as error:
        call.failed(error)
        raise
    call.finish()


def _wrap(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        recorder = None if MEASURED.get() else RECORDERS.current()
        if recorder is None:
            return original(self, request, *args, **options)
        follow_attempts(self)
        return _send(recorder, original.__get__(self), request, args, options)

    return send


PATCHES = [Patch("requests.adapters", "HTTPAdapter", "send", _wrap)]
