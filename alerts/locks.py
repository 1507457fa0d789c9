"""Alerts on locks of the database."""

from alerts.alert import Alert, Severity
from alerts.investigation import OF_LOCKS
from vitals.metrics.catalogue import (
    DB_LOCK_BLOCKED,
    DB_LOCK_BLOCKER_PID,
    DB_LOCK_BLOCKING,
    DB_LOCK_TRANSACTION,
    DB_LOCK_WAIT,
)

BLOCKS_TOO_LONG = 60
"""Seconds for which a transaction makes others wait; a migration under load takes less."""
_DATABASE = ("job", "db_namespace")
_BLOCKER = ("application", "state", "db_query_summary")


def _select(metric: str, *labels: str) -> str:
    return f"{metric}{{{','.join(f'{label}=%q' for label in labels)}}}"


def _value(metric: str, show: str, otherwise: str) -> str:
    """The value of a gauge of the blocking session, which is the template's dot."""
    query = f"max({_select(metric, *_DATABASE, *_BLOCKER)})"
    values = " ".join(
        [
            *(f"$labels.{label}" for label in _DATABASE),
            *(f"$blocker.Labels.{label}" for label in _BLOCKER),
        ]
    )
    shown = f"{{{{ . | first | value{show and f' | {show}'} }}}}"
    return (
        f'{{{{ with printf "{query}" {values} | query }}}}{shown}'
        f"{{{{ else }}}}{otherwise}{{{{ end }}}}"
    )


def _waiting() -> str:
    """The statement of the session that waits the longest."""
    query = (
        f"topk(1, max by (waiting_query_summary) ({_select(DB_LOCK_WAIT.name, *_DATABASE)}) > 0)"
    )
    return (
        f'{{{{ range printf "{query}" $labels.job $labels.db_namespace | query }}}}'
        ", {{ .Labels.waiting_query_summary }} for {{ .Value | humanizeDuration }}{{ end }}"
    )


_LONGEST = f"topk(1, max by ({', '.join(_BLOCKER)}) ({_select(DB_LOCK_BLOCKING.name, *_DATABASE)}))"
_PID = _value(DB_LOCK_BLOCKER_PID.name, "", "unknown")
_AGE = _value(DB_LOCK_TRANSACTION.name, "humanizeDuration", "an unknown time")
_SESSIONS = _value(DB_LOCK_BLOCKED.name, "humanize", "unknown")
LOCK_WAIT_LONG = Alert(
    name="LockWaitLong",
    expr=f"{DB_LOCK_BLOCKING.max(*_DATABASE)} > {BLOCKS_TOO_LONG}",
    fires_when="a transaction makes others wait for its locks for longer than a minute",
    not_when="they wait for an advisory lock",
    severity=Severity.PAGE,
    for_="30s",
    keep_firing_for="1m",
    summary="A transaction has blocked others in database {{ $labels.db_namespace }} of "
    "{{ $labels.job }} for {{ $value | humanizeDuration }}",
    description=f'{{{{ range printf "{_LONGEST}" $labels.job $labels.db_namespace | query }}}}'
    f"{{{{ $blocker := . }}}}PID {_PID}, application "
    '{{ or .Labels.application "without a name" }}, is {{ .Labels.state }}; '
    f"its transaction is open for {_AGE}. Its last statement: {{{{ .Labels.db_query_summary }}}}. "
    f"Sessions that wait: {_SESSIONS}{_waiting()}.{{{{ end }}}}",
    board="svc-db",
    investigation=OF_LOCKS,
)
