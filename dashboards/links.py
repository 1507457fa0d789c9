"""Data links from one board to another that pass on the clicked value."""

from dashboards.grafana import Json
from dashboards.style import link

OVERVIEW_UID = "svc-overview"
ENDPOINT_UID = "svc-endpoint"
DATABASE_UID = "svc-db"
CACHE_UID = "svc-cache"

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
