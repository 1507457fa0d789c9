"""What looking into bodies adds to a request, in process, against a middleware that reads them.

Time is the processor's, of all threads: the line that a thread writes is not left out, the
neighbours are.

``python -m bench.bodies``
"""

import argparse
import json
import os
from collections.abc import Callable
from time import process_time
from typing import Any

import structlog
from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Message

from bench.interleave import Once, report, run
from vitals import BodyLogging, Validation, instrument
from vitals.logging.setup import configure

BARE, EMPTY, READING = "measured only", "BaseHTTPMiddleware, empty", "BaseHTTPMiddleware, reads"
OFF, UNTOLD, TOLD = "bodies, switched off", "bodies, not told", "bodies, told"
GUARDED, BOTH = "guard", "guard and bodies, not told"
PROMISED = {
    "GET, 0 B": {OFF: 0.03, BOTH: 0.05},
    "POST, 143 B": {OFF: 0.02, BOTH: 0.2},
    "POST, 963 B": {OFF: 0.02, BOTH: 0.2, TOLD: 0.25},
    "POST, 51229 B": {BOTH: 1.75},
}
"""Shares of what an empty BaseHTTPMiddleware adds that ours may add at most."""

Build = Callable[[], FastAPI]


class Order(BaseModel):
    """A body of some size."""

    customer: str
    password: str
    lines: list[dict[str, Any]]


def application(**options: Any) -> FastAPI:
    """A GET and a POST, instrumented."""
    app = FastAPI()

    @app.get("/items")
    async def items() -> dict[str, str]:
        return {"item": "seven"}

    @app.post("/orders")
    async def order(order: Order) -> dict[str, str]:
        return {"customer": order.customer}

    instrument(app, logs=False, **options)
    return app


def inside(dispatch: Any) -> FastAPI:
    """Instrumented, with a BaseHTTPMiddleware."""
    app = application()
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


async def nothing(request: Request, call_next: Any) -> Any:
    """What any such middleware costs."""
    return await call_next(request)


async def reading(request: Request, call_next: Any) -> Any:
    """What is commonly done, as far as it does not hang: the body is read, parsed and dropped."""
    if body := await request.body():
        json.loads(body)
    return await call_next(request)


WAYS: dict[str, Build] = {
    BARE: application,
    OFF: lambda: application(body_logging=BodyLogging(routes={"/items": None, "/orders": None})),
    UNTOLD: lambda: application(body_logging=BodyLogging()),
    TOLD: lambda: application(body_logging=BodyLogging(share=1.0, lines_per_second=10**9)),
    GUARDED: lambda: application(validation=Validation()),
    BOTH: lambda: application(body_logging=BodyLogging(), validation=Validation()),
    EMPTY: lambda: inside(nothing),
    READING: lambda: inside(reading),
}


def body(size: int) -> bytes:
    """A JSON body of about this many bytes."""
    line = {"sku": "SKU-00000", "quantity": 3, "price": 19.99, "note": "with a short note"}
    number = max(1, (size - 60) // len(json.dumps(line)))
    lines = [line | {"sku": f"SKU-{each:05}"} for each in range(number)]
    order = {"customer": "anna", "password": "hunter2hunter2", "lines": lines}
    return json.dumps(order).encode()


def requester(app: FastAPI, method: str, content: bytes) -> Once:
    """One request as a browser's would look."""
    path = "/items" if method == "GET" else "/orders"
    headers = [
        (b"host", b"test"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip, br"),
        (b"accept-language", b"en"), (b"user-agent", b"bench"), (b"connection", b"keep-alive"),
    ]  # fmt: skip
    if content:
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(content)).encode()))
    template = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "headers": headers,
        "client": ("127.0.0.1", 50_000), "server": ("127.0.0.1", 8_000),
    }  # fmt: skip
    message: Message = {"type": "http.request", "body": content, "more_body": False}
    failed = f"{method} {path} of {len(content)} bytes"

    async def receive() -> Message:
        return message

    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"{failed} was answered {message['status']}")

    async def once() -> None:
        await app(template.copy(), receive, send)

    return once


def main() -> None:
    """Measure, print, and say in the exit code whether the promises hold."""
    parser = argparse.ArgumentParser(prog="python -m bench.bodies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns each way takes (40)")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    rows: list[list[str]] = []
    result: dict[str, Any] = {}
    holds = True
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a stream, no path
        configure("bench", stream=nowhere)
        for method, size in (("GET", 0), ("POST", 200), ("POST", 1_000), ("POST", 50_000)):
            content = body(size) if size else b""
            apps = {name: build() for name, build in WAYS.items()}
            ways = {name: requester(app, method, content) for name, app in apps.items()}
            calls = max(20, 300 - size // 200)
            taken = run(ways, rounds=options.rounds, calls=calls, clock=process_time)
            added = {name: (seconds - taken[BARE]) * 1e6 for name, seconds in taken.items()}
            what = f"{method}, {len(content)} B"
            rows += [
                [
                    f"{what}: {name}" if name == BARE else name,
                    f"{taken[name] * 1e6:.1f}",
                    f"{each:+.1f}" if name != BARE else "",
                    f"{each / added[EMPTY]:.3f}" if name != BARE else "",
                    str(PROMISED[what].get(name, "")),
                ]
                for name, each in added.items()
            ]
            shares = {name: added[name] / added[EMPTY] for name in PROMISED[what]}
            holds = holds and all(shares[name] <= most for name, most in PROMISED[what].items())
            result[what] = {
                "added_us": {name: round(each, 2) for name, each in added.items() if name != BARE},
                "x_empty": {name: round(share, 4) for name, share in shares.items()},
            }
    structlog.reset_defaults()
    report(
        "What looking into bodies adds",
        ["", "µs a request", "µs added", "x an empty BaseHTTPMiddleware", "at most"],
        rows,
        {"bench": "bodies", "requests": result, "promised": PROMISED, "holds": holds},
    )
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
