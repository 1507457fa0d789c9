"""The service whose price is measured: a query, a Redis GET and a log line a request.

It runs in an environment of its own, with nothing of this project but the kit: ``python service.py
VARIANT PORT``, with the addresses of PostgreSQL, Redis and the collector in the environment.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

VARIANT, PORT = sys.argv[1], int(sys.argv[2])
COLLECTOR = os.environ["COLLECTOR"]

if VARIANT.startswith("ddtrace"):
    import ddtrace.auto  # noqa: F401  # before everything that it patches

import redis.asyncio  # noqa: E402
import uvicorn  # noqa: E402
from fastapi import Depends, FastAPI  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from sqlalchemy import select  # noqa: E402
from sqlalchemy.ext.asyncio import (  # noqa: E402
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column  # noqa: E402

log = logging.getLogger("shop")


class Base(DeclarativeBase):
    """Tables of the service."""


class Product(Base):
    """A row of the one table."""

    __tablename__ = "products"
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class ProductAnswer(BaseModel):
    """What the endpoint answers."""

    number: int
    name: str
    stock: int


def vitals(app: FastAPI, engine: Any, client: Any, **options: Any) -> None:
    """The kit."""
    from vitals import instrument, watch  # a variant's

    instrument(app, engine=engine, service_name="shop", **options)
    watch(client, cache="products")


def opentelemetry(app: FastAPI, engine: Any, ratio: float) -> None:
    """OpenTelemetry's SDK with traces, metrics and logs by OTLP."""
    # ruff: noqa: PLC0415
    from opentelemetry import metrics, trace
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    provider = TracerProvider(sampler=ParentBasedTraceIdRatio(ratio))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    logs = LoggerProvider()
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    set_logger_provider(logs)
    log.addHandler(_otel_handler(logs))
    FastAPIInstrumentor.instrument_app(app, exclude_spans=["send", "receive"])
    SQLAlchemyInstrumentor().instrument(engine=engine.sync_engine)
    RedisInstrumentor().instrument()


def _otel_handler(logs: Any) -> logging.Handler:
    try:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
    except ImportError:
        from opentelemetry.sdk._logs import LoggingHandler
    handler: logging.Handler = LoggingHandler(logger_provider=logs)
    return handler


def logfire(app: FastAPI, engine: Any) -> None:
    """Logfire, which sends by OTLP where the environment says."""
    import logfire as logfire_

    logfire_.configure(send_to_logfire=False, console=False, service_name="shop")
    logfire_.instrument_fastapi(app)
    logfire_.instrument_sqlalchemy(engine=engine)
    logfire_.instrument_redis()
    log.addHandler(logfire_.LogfireLoggingHandler())


def sentry() -> None:
    """Sentry with all traces and logs; its integrations are found by what is installed."""
    import sentry_sdk

    sentry_sdk.init(
        dsn=f"{COLLECTOR.replace('://', '://key@')}/1", traces_sample_rate=1.0, enable_logs=True
    )


def elastic(app: FastAPI) -> None:
    """Elastic APM with all transactions."""
    from elasticapm.contrib.starlette import ElasticAPM, make_apm_client

    client = make_apm_client({"SERVICE_NAME": "shop", "SERVER_URL": COLLECTOR})
    app.add_middleware(ElasticAPM, client=client)


def make() -> FastAPI:
    """The service."""
    logging.basicConfig(stream=open(os.devnull, "w"), level=logging.INFO)  # noqa: PTH123, SIM115
    app = FastAPI()
    if VARIANT.startswith("sentry"):
        sentry()
    engine = create_async_engine(os.environ["DATABASE"])
    client = redis.asyncio.Redis.from_url(os.environ["REDIS"])
    attach: dict[str, Callable[[], None]] = {
        "bare": lambda: None,
        "vitals-metrics": lambda: vitals(app, engine, client),
        "vitals-unprofiled": lambda: vitals(app, engine, client, block_threshold=None),
        "vitals-without-parts": lambda: vitals(app, engine, client, time_parts=False),
        "vitals-tail": lambda: vitals(app, engine, client, otlp_endpoint=COLLECTOR),
        "vitals-all": lambda: vitals(app, engine, client, otlp_endpoint=COLLECTOR, trace_ratio=1.0),
        "vitals-otel": lambda: vitals(
            app, engine, client, otlp_endpoint=COLLECTOR, trace_ratio=1.0, tracer="opentelemetry"
        ),
        "opentelemetry-10": lambda: opentelemetry(app, engine, 0.1),
        "opentelemetry-all": lambda: opentelemetry(app, engine, 1.0),
        "logfire": lambda: logfire(app, engine),
        "sentry": lambda: None,
        "ddtrace": lambda: None,
        "elastic": lambda: elastic(app),
    }
    attach[VARIANT]()

    sessions = async_sessionmaker(engine)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as made:
            yield made

    @app.get("/products/{number}")
    async def product(
        number: int, session: Annotated[AsyncSession, Depends(session)]
    ) -> ProductAnswer:
        found = (await session.scalars(select(Product).where(Product.number == number))).one()
        stock = await client.get(f"stock:{number}")
        log.info("product %d looked at, %s left", number, stock)
        return ProductAnswer(number=found.number, name=found.name, stock=int(stock or 0))

    return app


if __name__ == "__main__":
    uvicorn.run(make(), port=PORT, log_level="error", access_log=False)
