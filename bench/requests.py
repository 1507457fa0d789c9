"""What measuring a request costs, in process, against peers in the same run.

``python -m bench.requests``
"""

import argparse
import os
from typing import Any

from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import Message
from starlette_exporter import PrometheusMiddleware

from bench.interleave import Once, report, run
from vitals import Objective, instrument

BARE, OURS, PEER = "bare application", "vitals", "prometheus-fastapi-instrumentator"
PROMISED = 0.15
"""Share of the peer's cost that we may add at most."""


def application(routes: int) -> FastAPI:
    """An application whose last route is asked for: peers match routes in order."""
    app = FastAPI()
    for number in range(routes):

        @app.get(f"/api/{number}/items/{{item}}")
        async def item(item: str) -> dict[str, str]:
            return {"item": item}

    return app


def vitals(app: FastAPI) -> FastAPI:
    """Ours, all of it but the logs, which tell of slow and failed requests only."""
    instrument(app, objectives=[Objective("latency", target=0.95, threshold=0.25)], logs=False)
    return app


def instrumentator(app: FastAPI) -> FastAPI:
    """The peer most in use."""
    Instrumentator(registry=CollectorRegistry()).instrument(app)
    return app


def exporter(app: FastAPI) -> FastAPI:
    """starlette_exporter."""
    app.add_middleware(PrometheusMiddleware, group_paths=True, prefix=f"app{id(app)}")
    return app


def opentelemetry(app: FastAPI) -> FastAPI:
    """OpenTelemetry's instrumentation, metrics only."""
    FastAPIInstrumentor.instrument_app(
        app,
        meter_provider=MeterProvider([InMemoryMetricReader()]),
        tracer_provider=NoOpTracerProvider(),
        exclude_spans=["send", "receive"],
    )
    return app


def nothing(app: FastAPI) -> FastAPI:
    """A BaseHTTPMiddleware that does nothing."""

    async def through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=through)
    return app


WAYS = {
    BARE: lambda app: app,
    OURS: vitals,
    PEER: instrumentator,
    "starlette_exporter": exporter,
    "opentelemetry, metrics": opentelemetry,
    "BaseHTTPMiddleware, empty": nothing,
}


def requester(app: FastAPI, routes: int) -> Once:
    """One request to the application's last route."""
    path = f"/api/{routes - 1}/items/seven"
    template = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"host", b"test"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
    }
    message: Message = {"type": "http.request", "body": b"", "more_body": False}

    async def receive() -> Message:
        return message

    async def send(_message: Message) -> None:
        pass

    async def once() -> None:
        await app(template.copy(), receive, send)

    return once


def measure(routes: int, rounds: int) -> dict[str, float]:
    """Seconds a request takes by each way."""
    apps = {name: wrap(application(routes)) for name, wrap in WAYS.items()}
    return run({name: requester(app, routes) for name, app in apps.items()}, rounds=rounds)


def main() -> None:
    """Measure, print, and say in the exit code whether the promise holds."""
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns each way takes (40)")
    parser.add_argument(
        "--routes", type=int, nargs="+", default=[1, 50, 200], help="numbers of routes (1 50 200)"
    )
    options = parser.parse_args()
    os.environ.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    rows, result, ratios = [], {}, []
    for routes in options.routes:
        taken = measure(routes, options.rounds)
        added = {name: taken[name] - taken[BARE] for name in taken}
        for name, seconds in taken.items():
            rows.append(
                [
                    name if name != BARE else f"{BARE}, {routes} routes",
                    f"{seconds * 1e6:.1f}",
                    f"{added[name] * 1e6:+.1f}" if name != BARE else "",
                    f"{seconds / taken[BARE]:.2f}",
                    f"{added[name] / added[PEER]:.3f}" if name != BARE else "",
                ]
            )
        ratios.append(added[OURS] / added[PEER])
        result[str(routes)] = {
            "added_us": {name: round(each * 1e6, 2) for name, each in added.items()},
            "ours_to_peer": round(ratios[-1], 4),
        }
    holds = max(ratios) <= PROMISED
    report(
        "What measuring a request adds",
        ["", "µs a request", "µs added", "x bare", "x the peer's addition"],
        rows,
        {"bench": "requests", "routes": result, "promised": PROMISED, "holds": holds},
    )
    raise SystemExit(not holds)


if __name__ == "__main__":
    main()
