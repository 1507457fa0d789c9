"""Registry of all boards."""

from dashboards.boards import (
    alerts,
    caches,
    database,
    endpoint,
    overview,
    postgres,
    runtime,
    services,
)

BOARDS = (
    overview.BOARD,
    endpoint.BOARD,
    database.BOARD,
    postgres.BOARD,
    caches.BOARD,
    runtime.BOARD,
    alerts.BOARD,
    services.BOARD,
)
