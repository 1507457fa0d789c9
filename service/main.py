"""Application factory: builds the FastAPI app and its lifespan."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI

from service import auth, health, openapi, problems
from service.auth import AccessTokens
from service.db import connection_limit, database, migrate
from service.db.cache_outbox import OUTBOX
from service.errors import ServiceError, UnavailableError
from service.middleware import docs_page, response_headers
from service.middleware.compression import Compression
from service.middleware.etag import Revalidation
from service.middleware.query_parameter_limit import QueryParameterLimit
from service.middleware.trusted_hosts import TrustedHosts
from service.orders import endpoints as orders
from service.orders.reports import Reports
from service.pagination import Cursors
from service.products import endpoints as products
from service.products.catalogue import Catalogue
from service.products.repository import Listing
from service.products.tables import Product
from service.rate_limit import RateLimiter
from service.server.drain import Drain
from service.server.protocol import ConnectionLimits
from service.server.serve import LoopbackOnly
from service.settings import Settings, is_loopback
from service.users import endpoints as users
from service.users.login_throttle import LoginThrottle
from service.users.passwords import Passwords
from vitals import BodyLogging, Objective, Validation, instrument
from vitals.cache import Cache, CacheInvalidator, WarmUp

OBJECTIVES = (
    Objective("availability", ratio=0.999),
    Objective("latency", ratio=0.95, within=0.25),
    # A login hashes a password, which is slow by intent.
    Objective("latency", ratio=0.95, within=0.5, route="/api/users/login"),
    Objective("queries", ratio=0.95, within=0.1),
)
PRIVATE = ("/api/users",)
"""Paths whose responses hold tokens, or e-mail addresses beside names that users choose."""
_log = logging.getLogger(__name__)


def build(settings: Settings) -> FastAPI:
    """Build the API; the lifespan opens its connections.

    Raises:
        SecretError: The JWT key or the metrics token is unreadable or guessable.
    """
    db = database.connect(settings)
    keys = settings.jwt_keys()
    app = FastAPI(
        **openapi.METADATA,
        generate_unique_id_function=openapi.operation_id,
        lifespan=_lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    docs_page.install(app)
    response_headers.install(app)
    problems.install(app)
    openapi.install(app)
    cache = Cache(
        settings.redis(), password=settings.redis_password(), single_process=settings.workers == 1
    )
    telemetry = instrument(
        app,
        engine=db.engine,
        objectives=OBJECTIVES,
        service_name="api",
        revision=settings.revision,
        metrics_token=settings.metrics_token(),
        logs="json",
        admin=auth.is_admin,
        admin_login=users.token_of,
        body_logging=BodyLogging(share=0.01, routes={"/api/users/login": None}),
        validation=Validation(limit=settings.body_limit),
        probes=[cache],
    )
    limits = RateLimiter.connect(settings.redis(), password=settings.redis_password())
    cursors = Cursors(*keys)
    catalogue = Catalogue(db, cursors, cache)
    invalidator = CacheInvalidator(
        cache,
        db.session_class,
        engine=db.writer,
        reader=db.engine,
        listener=db.listener,
        outbox=OUTBOX,
    )
    invalidator.watch(Product, catalogue.invalidated_by)
    app.state.settings = settings
    app.state.drain = drain = Drain(settings.shutdown_delay)
    app.state.connections = ConnectionLimits(settings, telemetry.meter, drain)
    app.state.database = db
    app.state.cache = cache
    app.state.invalidator = invalidator
    app.state.cursors = cursors
    app.state.tokens = AccessTokens(keys, settings.token_lifetime)
    app.state.passwords = Passwords(settings)
    app.state.limits = limits
    app.state.login_throttle = LoginThrottle(
        limits,
        keys[0],
        per_account=settings.account_attempts,
        per_address=settings.address_attempts,
    )
    app.state.catalogue = catalogue
    reports = Reports(db, cache)
    invalidator.watch(Product, reports.invalidated_by)
    app.state.reports = reports
    app.state.warm_up = WarmUp(
        cache,
        (
            catalogue.categories,
            partial(catalogue.page, Listing(), limit=20, cursor=None),
            partial(reports.best_sellers, days=30, limit=10),
        ),
        {catalogue.products: catalogue.by_key},
    )

    for part in (users, products, orders):
        app.include_router(part.router, prefix="/api")
    app.include_router(health.router)
    app.add_middleware(Compression, private=PRIVATE)
    app.add_middleware(Revalidation)
    app.add_middleware(QueryParameterLimit)
    if hosts := settings.hosts():
        app.add_middleware(TrustedHosts, hosts=hosts)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    try:
        await _check_connections(app)
        if app.state.settings.migrate:
            await _migrate(app)
        await app.state.cache.start()
        await app.state.invalidator.start()
        await app.state.warm_up.start()
        with app.state.drain.handling_signals():
            yield {ConnectionLimits.STATE: app.state.connections}
    finally:
        await app.state.warm_up.close()
        await app.state.invalidator.close()
        app.state.passwords.close()
        await app.state.limits.close()
        await app.state.cache.close()
        await app.state.database.close()


async def _check_connections(app: FastAPI) -> None:
    try:
        await connection_limit.check(app.state.database, app.state.settings)
    except UnavailableError:
        pass  # a migration needs the database; without one, the service waits for it
    except ServiceError as error:
        _log.error("cannot start: %s", error)
        raise


async def _migrate(app: FastAPI) -> None:
    try:
        await migrate.migrate(app.state.database)
    except UnavailableError:
        where = app.state.settings.database().render_as_string(hide_password=True)
        _log.error("cannot start: no database at %s (SERVICE_DATABASE_URL)", where)
        raise


def __getattr__(name: str) -> Any:
    """Build ``app`` when a server asks for it: importing this module alone has no effect."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    settings = Settings()
    # A public SERVICE_HOST requires TLS settings; other servers do not pass their address.
    app = LoopbackOnly(build(settings)) if is_loopback(settings.host) else build(settings)
    globals()["app"] = app
    return app
