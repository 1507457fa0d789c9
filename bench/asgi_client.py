"""In-process ASGI client: sends requests to an application without a network."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.types import ASGIApp

from vitals.logging.setup import configure, unconfigure

Header = tuple[bytes, bytes]


class Reply(NamedTuple):
    """A response."""

    status: int
    headers: Mapping[bytes, bytes]
    body: bytes


async def ask(
    app: ASGIApp,
    path: str,
    query: bytes = b"",
    *request_headers: Header,
    method: str = "GET",
    body: bytes = b"",
) -> Reply:
    """Send one request and wait for the whole response."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"test"), *request_headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }
    status, headers, content = 0, {}, b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status, headers, content
        if message["type"] == "http.response.start":
            status, headers = message["status"], dict(message["headers"])
        else:
            content += message.get("body", b"")

    await app(scope, receive, send)
    return Reply(status, headers, content)


@contextmanager
def discard_logs() -> Iterator[None]:
    """Write logs to /dev/null; use it after the application is built."""
    with Path(os.devnull).open("w") as nowhere:
        configure("bench", stream=nowhere)
        try:
            yield
        finally:
            unconfigure()
