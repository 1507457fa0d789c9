"""Registry of all boards."""

from dashboards.boards import (
    alerts,
    caches,
    database,
    endpoint,
    overview,
    postgres,
    redis,
    runtime,
    services,
)

BOARDS = (
    overview.BOARD,
    endpoint.BOARD,
    database.BOARD,
    postgres.BOARD,
    caches.BOARD,
    redis.BOARD,
    runtime.BOARD,
    alerts.BOARD,
    services.BOARD,
)
