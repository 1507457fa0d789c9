"""Alerts on what PostgreSQL says of itself."""

from alerts.alert import Alert, Severity
from rules.postgres_metrics import PG_BLOCKER_IDLE, PG_BLOCKER_TRANSACTION

FORGOTTEN = 10
"""Seconds for which a transaction may do nothing while others wait for its locks."""
_SERVER = ("job", "instance", "db_namespace")
_SAME = ",".join(f"{label}=%q" for label in _SERVER)
_VALUES = " ".join(f"$labels.{label}" for label in _SERVER)
_LONGEST = f"topk(1, {PG_BLOCKER_IDLE.name}{{{_SAME}}})"
_AGE = f"{PG_BLOCKER_TRANSACTION.name}{{{_SAME},pid=%q}}"

TRANSACTION_FORGOTTEN = Alert(
    name="TransactionForgotten",
    # Without `for`, and read every five seconds: it is a matter of seconds until requests fail.
    expr=f"{PG_BLOCKER_IDLE.max(*_SERVER)} > {FORGOTTEN}",
    fires_when="a transaction has sent nothing for 10 s while others wait for its locks",
    not_when="a statement of it runs",
    severity=Severity.PAGE,
    keep_firing_for="30s",
    summary="A forgotten transaction blocks others in database {{ $labels.db_namespace }} of "
    "{{ $labels.job }}",
    description=f'{{{{ range printf "{_LONGEST}" {_VALUES} | query }}}}'
    "{{ $session := .Labels }}"
    'PID {{ $session.pid }}, application {{ or $session.application "without a name" }}, role '
    "{{ $session.user }}, is {{ $session.state }} for {{ .Value | humanizeDuration }}"
    f'{{{{ range printf "{_AGE}" {_VALUES} $session.pid | query }}}}; '
    "its transaction is open for {{ .Value | humanizeDuration }}{{ end }}. "
    "Its last statement: {{ $session.statement }}{{ end }}",
    board="svc-postgres",
)
