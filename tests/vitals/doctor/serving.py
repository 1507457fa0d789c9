"""A service that the doctor examines; its page is protected if there is a token."""

import os

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from vitals import Objective, instrument

app = FastAPI(title="examined")
instrument(
    app,
    logs=False,
    objectives=[Objective("latency", ratio=0.95, within=0.25)],
    metrics_path=os.environ.get("EXAMINED_PATH", "/metrics"),
)


@app.get("/things")
async def things() -> list[int]:
    return [1, 2, 3]


async def behind_proxy(scope: Scope, receive: Receive, send: Send) -> None:
    """The same service, as a proxy on this machine asks it."""
    if scope["type"] == "http":
        scope["headers"].append((b"via", b"1.1 proxy"))
    await app(scope, receive, send)
