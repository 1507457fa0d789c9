"""Data links from a board to another one, or to traces and logs, that pass on the clicked value.

Links to traces and logs are those of Grafana's Explore; the viewer opens its own pages for them.
"""

import json
import re
from urllib.parse import quote

from dashboards.grafana import Json
from dashboards.style import link

OVERVIEW_UID = "svc-overview"
ENDPOINT_UID = "svc-endpoint"
DATABASE_UID = "svc-db"
CACHE_UID = "svc-cache"
POSTGRES_UID = "svc-postgres"
REDIS_UID = "svc-redis"

_KEEP = "${datasource:queryparam}&${job:queryparam}&${__url_time_range}"
"""Keeps the data source, the job and the time range."""
TO_ENDPOINT = link(
    "Open this route",
    f"/d/{ENDPOINT_UID}?{_KEEP}&var-route=${{__value.raw:percentencode}}",
)


def _to_statement(fingerprint: str) -> Json:
    # Grafana takes an address without a scheme for its own. TLS usually ends before the instance.
    page = "http://${api}/vitals/bottlenecks"
    title = "Open this statement: routes, lines, plan"
    return link(title, f"{page}?statement={fingerprint}#{fingerprint}")


TO_STATEMENT = _to_statement("${__value.raw:percentencode}")
"""Of a column of fingerprints."""
TO_STATEMENT_OF_SERIES = _to_statement("${__field.labels.db_query_fingerprint:percentencode}")
"""Of series by fingerprint."""
TO_DATABASE = link("Open the database board", f"/d/{DATABASE_UID}?{_KEEP}")
TO_CACHE = link("Open the cache board", f"/d/{CACHE_UID}?{_KEEP}")
TO_OVERVIEW = link(
    "Open this service",
    f"/d/{OVERVIEW_UID}?${{datasource:queryparam}}&${{__url_time_range}}"
    "&var-job=${__value.raw:percentencode}",
)

TO_OVERVIEW_OF_SERIES = link(
    "Open this service",
    f"/d/{OVERVIEW_UID}?${{datasource:queryparam}}&${{__url_time_range}}"
    "&var-job=${__field.labels.job:percentencode}",
)


def _explore(title: str, source: str, query: Json) -> Json:
    """A link to Explore, with the time range of the board.

    Args:
        title: Its text.
        source: Type of the data source, which is also its uid.
        query: The query as Explore has it; variables in it are percent-encoded.
    """
    pane = {
        "datasource": source,
        "queries": [{"refId": "A", "datasource": {"type": source, "uid": source}, **query}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    parts = re.split(r"(\$\{[^}]+\})", json.dumps({"a": pane}, separators=(",", ":")))
    panes = "".join(part if part.startswith("${") else quote(part, safe="") for part in parts)
    return link(title, f"/explore?schemaVersion=1&panes={panes}")


def _to_traces(title: str, *conditions: str) -> Json:
    """A link to the traces of the service that fulfil conditions in TraceQL."""
    service = 'resource.service.name = "${job:percentencode}"'
    query = f"{{ {' && '.join((service, *conditions))} }}"
    return _explore(
        title,
        "tempo",
        {"queryType": "traceql", "limit": 100, "tableType": "traces", "query": query},
    )


_CLICKED_ROUTE = 'span.http.route = "${__data.fields.Route:percentencode}"'
_FAILED, _SLOW = "status = error", 'span.vitals.kept = "objective"'
TO_FAILED_REQUESTS = _to_traces("Traces of failed requests", _FAILED)
TO_SLOW_REQUESTS = _to_traces("Traces of slow requests", _SLOW)
TO_FAILED_OF_ROUTE = _to_traces("Traces of failed requests", _CLICKED_ROUTE, _FAILED)
"""Of a row with a column `Route`."""
TO_SLOW_OF_ROUTE = _to_traces("Traces of slow requests", _CLICKED_ROUTE, _SLOW)
TO_N_PLUS_ONE_OF_ROUTE = _to_traces(
    "Traces with N+1", _CLICKED_ROUTE, 'span.vitals.kept = "n_plus_one"'
)
TO_ERRORS_OF_SERIES = _to_traces(
    "Traces with this error",
    'span.http.route = "${route:percentencode}"',
    'span.error.type = "${__field.labels.error_type:percentencode}"',
)
"""Of series by error type, of the selected route."""
TO_TRACES_OF_ERROR = _to_traces(
    "Traces with this error, which lead to its issue",
    'span.vitals.error.fingerprint = "${__data.fields.Fingerprint:percentencode}"',
)
"""Of a row with a column `Fingerprint`."""
TO_TRACES_OF_STATEMENT = _to_traces(
    "Traces with this statement",
    'span.vitals.db.query.fingerprint = "${__data.fields.Fingerprint:percentencode}"',
)
"""Of a row with a column `Fingerprint`."""
TO_TRACES_OF_STATEMENT_OF_SERIES = _to_traces(
    "Traces with this statement",
    'span.vitals.db.query.fingerprint = "${__field.labels.db_query_fingerprint:percentencode}"',
)
"""Of series by fingerprint."""
TO_ERROR_LOGS = _explore(
    "Log lines of errors",
    "loki",
    {
        "queryType": "range",
        # Loki finds the level of a line itself; the store has it as a label.
        "expr": '{service_name="${job:percentencode}"}'
        ' | level=~"error|fatal" or detected_level=~"error|fatal"',
    },
)
