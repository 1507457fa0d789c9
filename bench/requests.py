"""Overhead of request metrics, in process, against alternatives in the same run.

``python -m bench.requests``
"""

import argparse
import asyncio
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
from starlette.types import Message, Receive
from starlette_exporter import PrometheusMiddleware

from bench.interleave import Once, report, run
from vitals import Objective, instrument

BARE, OURS, ALTERNATIVE = "bare application", "vitals", "prometheus-fastapi-instrumentator"
BUDGET = 0.15
"""Budget: our overhead as a share of the alternative's."""


def application(routes: int) -> FastAPI:
    """An application whose last route is requested: alternatives match routes in order."""
    app = FastAPI()
    for number in range(routes):

        @app.get(f"/api/{number}/items/{{item}}")
        async def item(item: str) -> dict[str, str]:
            return {"item": item}

    return app


def vitals(app: FastAPI) -> FastAPI:
    """Ours without logs, which report only slow and failed requests."""
    instrument(app, objectives=[Objective("latency", ratio=0.95, within=0.25)], logs=False)
    return app


def instrumentator(app: FastAPI) -> FastAPI:
    """The most used alternative."""
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

    async def pass_through(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=pass_through)
    return app


VARIANTS = {
    BARE: lambda app: app,
    OURS: vitals,
    ALTERNATIVE: instrumentator,
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

    def receiver() -> Receive:
        waiting = [message]

        async def receive() -> Message:
            if not waiting:  # Starlette before 0.39 waits for the end of the connection
                await asyncio.Event().wait()
            return waiting.pop()

        return receive

    async def send(_message: Message) -> None:
        pass

    async def once() -> None:
        await app(template.copy(), receiver(), send)

    return once


def measure(routes: int, rounds: int) -> dict[str, float]:
    """Seconds per request of each variant."""
    apps = {name: wrap(application(routes)) for name, wrap in VARIANTS.items()}
    return run({name: requester(app, routes) for name, app in apps.items()}, rounds=rounds)


def main() -> None:
    """Measure and print; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.requests", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="rounds of each variant (40)")
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
                    f"{added[name] / added[ALTERNATIVE]:.3f}" if name != BARE else "",
                ]
            )
        ratios.append(added[OURS] / added[ALTERNATIVE])
        result[str(routes)] = {
            "added_us": {name: round(each * 1e6, 2) for name, each in added.items()},
            "ours_to_alternative": round(ratios[-1], 4),
        }
    within_budget = max(ratios) <= BUDGET
    report(
        "Overhead of request metrics",
        ["", "µs a request", "µs added", "x bare", "x the alternative's overhead"],
        rows,
        {"bench": "requests", "routes": result, "budget": BUDGET, "within_budget": within_budget},
    )
    raise SystemExit(not within_budget)


if __name__ == "__main__":
    main()
