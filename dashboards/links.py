"""Links from one board to another that carry what was clicked on."""

from dashboards.look import link

ENDPOINT_UID = "svc-endpoint"
TO_ENDPOINT = link(
    "Open this route",
    f"/d/{ENDPOINT_UID}?${{datasource:queryparam}}&${{job:queryparam}}"
    "&var-route=${__value.raw:percentencode}&${__url_time_range}",
)
