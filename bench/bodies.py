"""Overhead of body logging and validation per request, against a middleware that reads bodies.

Measured in process, as processor time of all threads: it includes the thread that writes log lines
and leaves out other processes.

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
OFF, NOT_LOGGED, LOGGED = "bodies, switched off", "bodies, not logged", "bodies, logged"
VALIDATED, BOTH = "validation", "guard and bodies, not logged"
BUDGET = {
    "GET, 0 B": {OFF: 0.03, BOTH: 0.05},
    "POST, 143 B": {OFF: 0.02, BOTH: 0.2},
    "POST, 963 B": {OFF: 0.02, BOTH: 0.2, LOGGED: 0.25},
    "POST, 51229 B": {BOTH: 1.75},
}
"""Budgets: our overhead as a share of that of an empty BaseHTTPMiddleware."""

Build = Callable[[], FastAPI]


class Order(BaseModel):
    """A body of some size."""

    customer: str
    password: str
    lines: list[dict[str, Any]]


def application(**options: Any) -> FastAPI:
    """An instrumented application with a GET and a POST."""
    app = FastAPI()

    @app.get("/items")
    async def items() -> dict[str, str]:
        return {"item": "seven"}

    @app.post("/orders")
    async def order(order: Order) -> dict[str, str]:
        return {"customer": order.customer}

    instrument(app, logs=False, **options)
    return app


def with_base_middleware(dispatch: Any) -> FastAPI:
    """An instrumented application with a BaseHTTPMiddleware."""
    app = application()
    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    return app


async def nothing(request: Request, call_next: Any) -> Any:
    """A dispatch function that does nothing."""
    return await call_next(request)


async def reading(request: Request, call_next: Any) -> Any:
    """The common approach, as far as it does not hang: read, parse and drop the body."""
    if body := await request.body():
        json.loads(body)
    return await call_next(request)


VARIANTS: dict[str, Build] = {
    BARE: application,
    OFF: lambda: application(body_logging=BodyLogging(routes={"/items": None, "/orders": None})),
    NOT_LOGGED: lambda: application(body_logging=BodyLogging()),
    LOGGED: lambda: application(body_logging=BodyLogging(share=1.0, lines_per_second=10**9)),
    VALIDATED: lambda: application(validation=Validation()),
    BOTH: lambda: application(body_logging=BodyLogging(), validation=Validation()),
    EMPTY: lambda: with_base_middleware(nothing),
    READING: lambda: with_base_middleware(reading),
}


def body(size: int) -> bytes:
    """A JSON body of about this many bytes."""
    line = {"sku": "SKU-00000", "quantity": 3, "price": 19.99, "note": "with a short note"}
    number = max(1, (size - 60) // len(json.dumps(line)))
    lines = [line | {"sku": f"SKU-{each:05}"} for each in range(number)]
    order = {"customer": "anna", "password": "hunter2hunter2", "lines": lines}
    return json.dumps(order).encode()


def requester(app: FastAPI, method: str, content: bytes) -> Once:
    """One request as from a browser."""
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
            raise RuntimeError(f"{failed} returned {message['status']}")

    async def once() -> None:
        await app(template.copy(), receive, send)

    return once


def main() -> None:
    """Measure and print; the exit code says whether all budgets are met."""
    parser = argparse.ArgumentParser(prog="python -m bench.bodies", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each variant (40)")
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    rows: list[list[str]] = []
    result: dict[str, Any] = {}
    within_budget = True
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123  # a stream, no path
        configure("bench", stream=nowhere)
        for method, size in (("GET", 0), ("POST", 200), ("POST", 1_000), ("POST", 50_000)):
            content = body(size) if size else b""
            apps = {name: build() for name, build in VARIANTS.items()}
            variants = {name: requester(app, method, content) for name, app in apps.items()}
            calls = max(20, 300 - size // 200)
            taken = run(variants, rounds=options.rounds, calls=calls, clock=process_time)
            added = {name: (seconds - taken[BARE]) * 1e6 for name, seconds in taken.items()}
            request = f"{method}, {len(content)} B"
            rows += [
                [
                    f"{request}: {name}" if name == BARE else name,
                    f"{taken[name] * 1e6:.1f}",
                    f"{each:+.1f}" if name != BARE else "",
                    f"{each / added[EMPTY]:.3f}" if name != BARE else "",
                    str(BUDGET[request].get(name, "")),
                ]
                for name, each in added.items()
            ]
            shares = {name: added[name] / added[EMPTY] for name in BUDGET[request]}
            within_budget = within_budget and all(
                shares[name] <= most for name, most in BUDGET[request].items()
            )
            result[request] = {
                "added_us": {name: round(each, 2) for name, each in added.items() if name != BARE},
                "x_empty": {name: round(share, 4) for name, share in shares.items()},
            }
    structlog.reset_defaults()
    report(
        "Overhead of body logging and validation",
        ["", "µs a request", "µs added", "x an empty BaseHTTPMiddleware", "at most"],
        rows,
        {"bench": "bodies", "requests": result, "budget": BUDGET, "within_budget": within_budget},
    )
    raise SystemExit(not within_budget)


if __name__ == "__main__":
    main()
