"""Recording rules of alerts: since when they fire."""

from rules.monitoring import ALERTS
from rules.signal import Signal

SAME_ALERT = "alertname, job, severity, http_route, slo"
_FIRING = ALERTS.select(alertstate="firing")
_SINCE = "alert_job_severity_route_slo:alerts:firing_since"
FIRING_SINCE = Signal(
    _SINCE,
    "Since when does each alert fire, as Unix time?",
    "dateTimeFromNow",
    # Prometheus records only since when the condition is true, which is earlier by the `for`. The
    # rule reads its own last value, and so outlasts a restart.
    f"min by ({SAME_ALERT}) ({_SINCE} and on ({SAME_ALERT}) {_FIRING} or timestamp({_FIRING}))",
)
