"""Every board."""

from dashboards import alerting, caches, database, endpoint, overview, runtime

BOARDS = (
    overview.BOARD,
    endpoint.BOARD,
    database.BOARD,
    caches.BOARD,
    runtime.BOARD,
    alerting.BOARD,
)
