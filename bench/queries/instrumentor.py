"""OpenTelemetry's own instrumentation against ours, on the same select in the same process.

It refuses the SQLAlchemy that we are made for, so this runs in an environment with an older one:
``bench.queries`` makes that, and calls this as ``python -m bench.queries.instrumentor URL``.
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

from bench.queries.variants import AGAIN, OURS, PLAIN, Finish, measure, ours, sync, unwatched
from vitals.db.dialect_hook import AnyEngine

SPANS = "OpenTelemetry's instrumentor"


class Nowhere(SpanExporter):
    """Takes spans, and counts and forgets them."""

    def __init__(self) -> None:
        self.taken = 0

    def export(self, spans: Any) -> SpanExportResult:
        """Forget."""
        self.taken += len(spans)
        return SpanExportResult.SUCCESS


def instrumented(nowhere: Nowhere, engine: AnyEngine) -> Finish:
    """As its documentation says, with every query sampled: the default."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(nowhere))
    SQLAlchemyInstrumentor().instrument(engine=sync(engine), tracer_provider=provider)
    return lambda _request: None


def main() -> None:
    """Measure, and print the seconds of each way as one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    nowhere = Nowhere()
    ways = {
        PLAIN: unwatched,
        AGAIN: unwatched,
        OURS: ours,
        SPANS: lambda engine: instrumented(nowhere, engine),
    }
    taken = asyncio.run(measure(options.url, ways, rounds=options.rounds, calls=options.calls))
    if not nowhere.taken:
        raise SystemExit("OpenTelemetry made no span: it does not support this SQLAlchemy")
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
