"""Calls an ASGI application directly: a test decides when the client disconnects."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.types import Message

Sent = list[Message]


def fetch(app: FastAPI, method: str, path: str, **options: Any) -> httpx.Response:
    """Send one request; exceptions of the application become a 500."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return asyncio.run(run())


def http_scope(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def converse(
    app: Any, scope: dict[str, Any], incoming: list[Message], leave: Callable[[Sent], bool]
) -> Sent:
    """Send messages, then wait until `leave` returns that the client disconnects."""
    sent: Sent = []
    waiting = list(incoming)

    async def receive() -> Message:
        if waiting:
            return waiting.pop(0)
        while not leave(sent):
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
