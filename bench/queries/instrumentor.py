"""OpenTelemetry's instrumentor against ours, on the same select in the same process.

It refuses our version of SQLAlchemy, so this runs in an environment with an older one:
``bench.queries`` creates that, and calls this as ``python -m bench.queries.instrumentor URL``.
"""

import argparse
import asyncio
import json
from typing import Any

from opentelemetry.instrumentation.sqlalchemy import (  # type: ignore[import-not-found,unused-ignore]
    SQLAlchemyInstrumentor,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from bench.queries.variants import AGAIN, OURS, PLAIN, Finish, measure, ours, sync, uninstrumented
from vitals.db.engines import AnyEngine

SPANS = "OpenTelemetry's instrumentor"


class DiscardingExporter(SpanExporter):
    """Counts and discards spans."""

    def __init__(self) -> None:
        self.taken = 0

    def export(self, spans: Any) -> SpanExportResult:
        """Discard."""
        self.taken += len(spans)
        return SpanExportResult.SUCCESS


def instrumented(exporter: DiscardingExporter, engine: AnyEngine) -> Finish:
    """Instrument as documented, with every query sampled (the default)."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    SQLAlchemyInstrumentor().instrument(engine=sync(engine), tracer_provider=provider)
    return lambda _request: None


def main() -> None:
    """Measure, and print the seconds of each variant as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    exporter = DiscardingExporter()
    variants = {
        PLAIN: uninstrumented,
        AGAIN: uninstrumented,
        OURS: ours,
        SPANS: lambda engine: instrumented(exporter, engine),
    }
    taken = asyncio.run(measure(options.url, variants, rounds=options.rounds, calls=options.calls))
    if not exporter.taken:
        raise SystemExit("OpenTelemetry made no spans: it does not support this SQLAlchemy")
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
