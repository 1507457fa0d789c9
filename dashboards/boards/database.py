"""Database board: statements by total time, N+1 queries, connection pools."""

from dataclasses import replace

from dashboards.annotations import DEPLOYS, DOWN, FIRING
from dashboards.board import Board, Row
from dashboards.links import (
    DATABASE_UID,
    TO_ENDPOINT,
    TO_N_PLUS_ONE_OF_ROUTE,
    TO_STATEMENT,
    TO_STATEMENT_OF_SERIES,
    TO_TRACES_OF_STATEMENT,
    TO_TRACES_OF_STATEMENT_OF_SERIES,
)
from dashboards.panels.panel import TimeSeries
from dashboards.panels.query import Query, instant_query, table_query
from dashboards.panels.stat_panels import Gauge, Stat
from dashboards.panels.table_panels import Table
from dashboards.sections import lock_panels
from dashboards.sections.dependencies import POOL, QUERIES, SLOW_RATIO
from dashboards.sections.saturation import POOLS_LEFT
from dashboards.sections.slo_panels import SLOW_QUERIES
from dashboards.style import Colour, Step, column, rising, series_colour, value_colour
from dashboards.variables import API, CHOSEN, CHOSEN_JOB, INSTANCE, JOB, SOURCE, STEP
from rules.datastores import POOL_USE, QUERIES_PER_REQUEST_P95
from rules.signal import defined
from vitals.metrics.catalogue import (
    DB_CONNECTION_COUNT,
    DB_CONNECTION_CREATE,
    DB_CONNECTION_ERRORS,
    DB_CONNECTION_MAX,
    DB_CONNECTION_PENDING,
    DB_CONNECTION_TIMEOUTS,
    DB_CONNECTION_USE,
    DB_CONNECTION_WAIT,
    DB_N_PLUS_ONE,
    DB_OPERATION_DURATION,
    DB_SLOW_QUERIES,
)
from vitals.metrics.declarations import excluding

_FINGERPRINT = "db_query_fingerprint"
_STATEMENT = ("db_query_summary", _FINGERPRINT)
_NAMED = "{{db_query_summary}} {{db_query_fingerprint}}"
_POOL = "db_client_connection_pool_name"
_POOL_NAMED = "{{db_client_connection_pool_name}}"
_TIME = DB_OPERATION_DURATION.total(**CHOSEN)

RATE = Stat(
    id=2,
    title="Queries",
    description="Queries per second over the last five minutes.",
    unit="ops",
    queries=(instant_query(DB_OPERATION_DURATION.rate(**CHOSEN)),),
    empty="no queries",
)
IN_USE = Stat(
    id=6,
    title="Connections in use",
    description="Connections of the pools that are checked out, of those that the pools may open, "
    "overflow included.",
    unit="short",
    decimals=0,
    width=5,
    queries=(
        instant_query(DB_CONNECTION_COUNT.sum(state="used", **CHOSEN), "in use"),
        instant_query(DB_CONNECTION_MAX.sum(**CHOSEN), "of"),
    ),
    overrides=(value_colour("of", Colour.MUTED),),
    empty="no pool",
)
_QUERIES = f"({DB_OPERATION_DURATION.rate(**CHOSEN)} or vector(0))"
_RAISED = f"({DB_OPERATION_DURATION.rate(**CHOSEN, error_type=excluding(''))} or vector(0))"
_UNSENT = (
    f"({DB_CONNECTION_ERRORS.rate(**CHOSEN, error_type=excluding('CancelledError'))} or vector(0)) "
    f"+ ({DB_CONNECTION_TIMEOUTS.rate(**CHOSEN)} or vector(0))"
)
"""Of those for which there was no connection: none could be opened, or none was free in time."""
FAILED = Stat(
    id=4,
    title="Failed queries",
    description="Share of queries of the last five minutes that raised an error, such as a "
    "deadlock, a constraint violation or a lost connection, or for which there was no connection: "
    "the database refused or did not answer, or none became free in time.",
    unit="percentunit",
    decimals=2,
    width=5,
    steps=rising(0.001, 0.01),
    queries=(instant_query(f"({_RAISED} + {_UNSENT}) / ({_QUERIES} + {_UNSENT} > 0)"),),
    empty="no queries",
)
FULLEST = Gauge(
    id=5,
    title="Fullest pool",
    description="The largest share of a pool's connections in use on any instance.",
    unit="percentunit",
    height=4,
    width=5,
    steps=rising(0.7, 0.9),
    queries=(instant_query(f"max({POOL_USE.select(**CHOSEN)})"),),
    empty="no pool",
)


def _of_top(expr: str) -> Query:
    return table_query(f"{expr} and on ({', '.join(_STATEMENT)}) {_TOP_STATEMENTS}")


_TOP_STATEMENTS = f"topk(10, {DB_OPERATION_DURATION.total(*_STATEMENT, **CHOSEN)} > 0)"
STATEMENTS = Table(
    id=20,
    title="Top statements by total time",
    description="The ten statements with the most total time. A fast one that runs too often "
    "costs as much as a slow one; the fingerprint is the one in the slow-query log.",
    unit="short",
    width=14,
    height=9,
    queries=(
        table_query(f"{_TOP_STATEMENTS} / on () group_left () {_TIME}"),
        _of_top(DB_OPERATION_DURATION.rate(*_STATEMENT, **CHOSEN)),
        _of_top(DB_OPERATION_DURATION.mean(*_STATEMENT, **CHOSEN)),
        _of_top(defined(DB_OPERATION_DURATION.quantile(0.95, *_STATEMENT, **CHOSEN))),
    ),
    columns={
        "db_query_summary": "Statement",
        _FINGERPRINT: "Fingerprint",
        "Value #A": "Share of time",
        "Value #B": "Rate",
        "Value #C": "Mean",
        "Value #D": "p95",
    },
    sort=(("Share of time", True),),
    overrides=(
        column("Statement", link=TO_TRACES_OF_STATEMENT),
        column(
            "Fingerprint", "string", link=TO_STATEMENT
        ),  # or 4703e95409722697 is read as infinite
        column("Share of time", "percentunit", width=120),
        column("Rate", "ops", width=100),
        column("Mean", "s", width=90),
        column("p95", "s", width=90, steps=rising(0.1, 0.5)),
    ),
)
N_PLUS_ONE = Table(
    id=21,
    title="N+1 queries",
    empty="none recorded",
    description="Routes that repeated one statement once per row within the last hour, and in how "
    "many requests. Load the rows together (selectinload, joinedload) instead.",
    unit="short",
    width=10,
    height=9,
    queries=(
        table_query(
            f"{DB_N_PLUS_ONE.increase('http_route', _FINGERPRINT, window='1h', **CHOSEN)} > 0"
        ),
    ),
    columns={"http_route": "Route", _FINGERPRINT: "Fingerprint", "Value": "Requests"},
    sort=(("Requests", True),),
    overrides=(
        column("Route", link=TO_ENDPOINT),
        column("Fingerprint", "string", link=TO_STATEMENT),
        column(
            "Requests",
            "short",
            width=100,
            steps=(Step(Colour.WARNING),),
            link=TO_N_PLUS_ONE_OF_ROUTE,
        ),
    ),
)
SHARE = TimeSeries(
    id=22,
    title="Time by statement",
    links=(TO_STATEMENT_OF_SERIES, TO_TRACES_OF_STATEMENT_OF_SERIES),
    description="Seconds per second spent in the ten statements with the most total time. What "
    "grew when the problem began is the first suspect.",
    unit="s",
    stacked=True,
    width=12,
    queries=(
        Query(
            f"topk(10, {DB_OPERATION_DURATION.total(*_STATEMENT, window=STEP, **CHOSEN)} > 0)",
            _NAMED,
        ),
    ),
)
SLOW_STATEMENTS = TimeSeries(
    id=23,
    title="Slow queries by statement",
    links=(TO_STATEMENT_OF_SERIES, TO_TRACES_OF_STATEMENT_OF_SERIES),
    empty="none recorded",
    description="Queries per second slower than the threshold of their objective, by statement.",
    unit="ops",
    width=6,
    queries=(
        Query(
            f"{DB_SLOW_QUERIES.rate(_FINGERPRINT, window=STEP, **CHOSEN)} > 0",
            "{{db_query_fingerprint}}",
        ),
    ),
)
ERRORS = TimeSeries(
    id=24,
    title="Query errors",
    empty="none recorded",
    description="Queries per second that raised an error, by exception class.",
    unit="ops",
    width=6,
    queries=(
        Query(
            DB_OPERATION_DURATION.rate(
                "error_type", window=STEP, **CHOSEN, error_type=excluding("")
            ),
            "{{error_type}}",
        ),
    ),
)
PER_REQUEST = TimeSeries(
    id=25,
    title="Queries per request, p95",
    description="The ten routes with the most queries per request at p95.",
    unit="short",
    limits=True,
    steps=rising(20, 50),
    queries=(
        Query(f"topk(10, {QUERIES_PER_REQUEST_P95.select(job=CHOSEN_JOB)})", "{{http_route}}"),
    ),
)

# -- Connections --------------------------------------------------------------------------------

WAITING = TimeSeries(
    id=32,
    soft_high=1,
    tint=Colour.INFO,
    title="Pending connection requests",
    description="Requests that are waiting for a connection, by instance. Zero is the only good "
    "value.",
    unit="short",
    width=8,
    queries=(
        Query(
            DB_CONNECTION_PENDING.sum("instance", _POOL, **CHOSEN), "{{instance}} " + _POOL_NAMED
        ),
    ),
)
WAIT = TimeSeries(
    id=33,
    title="Connection wait time, p95",
    description="95 % of checkouts got their connection within this time. It rises before "
    "timeouts do.",
    unit="s",
    width=8,
    queries=(
        Query(
            defined(DB_CONNECTION_WAIT.quantile(0.95, _POOL, window=STEP, **CHOSEN)), _POOL_NAMED
        ),
    ),
)
NO_CONNECTION = TimeSeries(
    id=34,
    soft_high=1,
    title="Callers without a connection",
    description="Callers per second that got no connection; each is a failed request. Timeout: all "
    "connections of the pool were in use for too long. An error: opening one failed, as when the "
    "database is down, refuses the login or has no slot left.",
    unit="ops",
    width=8,
    queries=(
        Query(DB_CONNECTION_TIMEOUTS.rate(_POOL, window=STEP, **CHOSEN), f"{_POOL_NAMED} timeout"),
        Query(
            DB_CONNECTION_ERRORS.rate(_POOL, "error_type", window=STEP, **CHOSEN),
            f"{_POOL_NAMED} {{{{error_type}}}}",
        ),
    ),
)
CONNECTIONS = TimeSeries(
    id=36,
    title="Connections by state",
    stacked=True,
    description="Connections of the pools, of all selected instances together. Those that the "
    "server has ended are not counted, so PostgreSQL's pg_stat_activity has as many sessions.",
    unit="short",
    width=8,
    queries=(Query(DB_CONNECTION_COUNT.sum("state", **CHOSEN), "{{state}}"),),
    overrides=(series_colour("used", Colour.PRIMARY), series_colour("idle", Colour.INFO)),
)
CHECKOUT_TIME = TimeSeries(
    id=35,
    title="Checkout and connect time, p95",
    description="How long a connection is checked out of the pool, and how long opening one "
    "takes. Long checkouts are sessions that do other work while they hold a connection.",
    unit="s",
    width=8,
    queries=(
        Query(
            defined(DB_CONNECTION_USE.quantile(0.95, _POOL, window=STEP, **CHOSEN)),
            f"{_POOL_NAMED} checkout",
        ),
        Query(
            defined(DB_CONNECTION_CREATE.quantile(0.95, _POOL, window=STEP, **CHOSEN)),
            f"{_POOL_NAMED} connect",
        ),
    ),
)

_BUCKETS = DB_OPERATION_DURATION.select("_bucket", "5m", **CHOSEN)
TIMES = replace(
    QUERIES,
    id=10,
    width=8,
    links=(),
    description=f"{QUERIES.description} Each dot is a query: click it to open the trace of its "
    "request.",
    # Evaluated at 1970, as on the overview: only exemplars are wanted of the raw buckets.
    queries=(*QUERIES.queries, Query(f"rate({_BUCKETS} @ 0)", "queries", exemplar=True)),
)

BOARD = Board(
    uid=DATABASE_UID,
    title="Database",
    description="Which statements take the most time, and are there enough connections?",
    variables=(SOURCE, JOB, INSTANCE, API),
    annotations=(DEPLOYS, DOWN, FIRING),
    rows=(
        Row((replace(SLOW_QUERIES, id=1, width=5), RATE, IN_USE, FAILED, FULLEST)),
        Row(
            (
                TIMES,
                replace(SLOW_RATIO, id=11, width=8, links=()),
                PER_REQUEST,
            )
        ),
        Row((STATEMENTS, N_PLUS_ONE)),
        Row((SHARE, SLOW_STATEMENTS, ERRORS)),
        Row(
            (
                *(lock_panels.WAITING, lock_panels.PAIRS),
                *(lock_panels.BLOCKED, lock_panels.BLOCKING),
            ),
            title="Locks",
            id=40,
        ),
        Row(
            (
                *(replace(POOL, id=31, width=8, links=()), WAITING, WAIT),
                *(CONNECTIONS, NO_CONNECTION, CHECKOUT_TIME),
                POOLS_LEFT,
            ),
            title="Connections",
            id=30,
        ),
    ),
)
