"""Alerts on what PostgreSQL says of itself."""

from alerts.alert import Alert, Severity
from rules.postgres_metrics import (
    PG_BLOCKER_IDLE,
    PG_BLOCKER_TRANSACTION,
    PG_CONNECTIONS,
    PG_CONNECTIONS_LIMIT,
    PG_DEADLOCKS,
    PG_LAG_BYTES,
    PG_LAG_SECONDS,
    PG_RECEIVING,
    PG_REPLAY_LAG,
    PG_SLOT_ACTIVE,
    PG_SLOT_BYTES,
    PG_TRANSACTION,
    PG_UP,
    PG_WRAPAROUND,
)

FORGOTTEN = 10
"""Seconds for which a transaction may do nothing while others wait for its locks."""
FULL_SHARE = 0.85
"""The share of connections from which on the next burst may get none."""
OLD = 60
"""Seconds for which a transaction is open that has series of its own."""
MIN_DEADLOCKS = 3
"""Deadlocks within ten minutes; fewer are an accident that a retry mends."""
MAX_LAG = 60
"""Seconds that a standby may be behind."""
NEAR = 0.5
"""The share of transactions; autovacuum freezes from 0.1 on, the server's failsafe from 0.75."""
_SERVER = ("job", "instance", "db_namespace")
_INSTANCE = ("job", "instance")
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

POSTGRES_UNREACHABLE = Alert(
    name="PostgresUnreachable",
    expr=f"{PG_UP.max(*_INSTANCE)} == 0",
    fires_when="PostgreSQL does not answer its reader",
    severity=Severity.PAGE,
    for_="1m",
    summary="The PostgreSQL of {{ $labels.job }} does not answer its reader {{ $labels.instance }}",
    description="It is down, takes no connections, or refuses the reader's role. Nothing is known "
    "of its locks, vacuum and replication meanwhile.",
    board="svc-postgres",
)

POSTGRES_CONNECTIONS_RUN_OUT = Alert(
    name="PostgresConnectionsRunOut",
    expr=f"{PG_CONNECTIONS.sum(*_INSTANCE)} / {PG_CONNECTIONS_LIMIT.sum(*_INSTANCE)} "
    f"> {FULL_SHARE}",
    fires_when="more than 85% of the server's connections are in use",
    severity=Severity.PAGE,
    for_="2m",
    keep_firing_for="2m",
    summary="The PostgreSQL of {{ $labels.job }} runs out of connections",
    description="{{ $value | humanizePercentage }} of those that it takes are in use; with all of "
    "them, every service that connects gets an error.",
    board="svc-postgres",
)

TRANSACTION_LONG = Alert(
    name="TransactionLong",
    expr=f"{PG_TRANSACTION.max(*_SERVER, 'pid')} > {OLD}",
    fires_when="one transaction is open for a quarter of an hour",
    severity=Severity.TICKET,
    for_="14m",
    summary="PID {{ $labels.pid }} has a transaction open in database {{ $labels.db_namespace }} "
    "of {{ $labels.job }} for {{ $value | humanizeDuration }}",
    description=f'{{{{ range printf "topk(1, {PG_TRANSACTION.name}{{{_SAME},pid=%q}})" {_VALUES} '
    "$labels.pid | query }}Application {{ or .Labels.application `without a name` }}, role "
    "{{ .Labels.user }}, is {{ .Labels.state }}. Its last statement: {{ .Labels.statement }}"
    "{{ end }}. Vacuum removes no row that it may still see.",
    board="svc-postgres",
)

DEADLOCKS_REPEATED = Alert(
    name="DeadlocksRepeated",
    expr=f"{PG_DEADLOCKS.increase(*_SERVER, window='10m')} >= {MIN_DEADLOCKS}",
    fires_when="transactions deadlock",
    not_when="fewer than 3 in 10m",
    severity=Severity.TICKET,
    keep_firing_for="10m",
    summary="Transactions deadlock in database {{ $labels.db_namespace }} of {{ $labels.job }}",
    description="PostgreSQL ended {{ $value | humanize }} deadlocks within ten minutes; each "
    "failed a transaction.",
    board="svc-postgres",
)

REPLICATION_LAG = Alert(
    name="ReplicationLag",
    expr=f"{PG_LAG_SECONDS.max(*_INSTANCE, 'standby')} > {MAX_LAG} "
    f"or {PG_REPLAY_LAG.max(*_INSTANCE)} > {MAX_LAG}",
    fires_when="a standby is a minute behind",
    severity=Severity.TICKET,
    for_="5m",
    keep_firing_for="2m",
    summary="{{ if $labels.standby }}Standby {{ $labels.standby }} of the{{ else }}The standby"
    "{{ end }} PostgreSQL of {{ $labels.job }} is {{ $value | humanizeDuration }} behind",
    description="What is read there is old, and a failover to it takes as long as it needs to "
    f'catch up.{{{{ range printf "{PG_LAG_BYTES.name}{{job=%q,instance=%q,standby=%q}}" '
    "$labels.job $labels.instance $labels.standby | query }} It has not replayed "
    "{{ .Value | humanize1024 }}B of WAL.{{ end }}",
    board="svc-postgres",
)

WRAPAROUND_NEAR = Alert(
    name="WraparoundNear",
    expr=f"{PG_WRAPAROUND.max(*_SERVER)} > {NEAR}",
    fires_when="half of the transactions are spent after which a database refuses writes",
    severity=Severity.TICKET,
    for_="5m",
    summary="Database {{ $labels.db_namespace }} of {{ $labels.job }} has spent "
    "{{ $value | humanizePercentage }} of its transactions",
    description="Autovacuum freezes rows from a tenth on, so something keeps it from that: an old "
    "transaction, a prepared one, a replication slot, or a vacuum that never ends. At the end the "
    "database refuses every write.",
    board="svc-postgres",
)

REPLICATION_BROKEN = Alert(
    name="ReplicationBroken",
    expr=f"{PG_SLOT_ACTIVE.max(*_INSTANCE, 'slot')} == 0 or {PG_RECEIVING.max(*_INSTANCE)} == 0",
    fires_when="no one reads a replication slot, or a standby receives nothing",
    severity=Severity.TICKET,
    for_="5m",
    summary="Replication of the PostgreSQL of {{ $labels.job }} is broken",
    description="{{ if $labels.slot }}No one reads slot {{ $labels.slot }}"
    f'{{{{ range printf "{PG_SLOT_BYTES.name}{{job=%q,instance=%q,slot=%q}}" $labels.job '
    "$labels.instance $labels.slot | query }}, for which the server keeps "
    "{{ .Value | humanize1024 }}B of WAL already, until its disk is full{{ end }}"
    "{{ else }}A standby receives no WAL from its primary{{ end }}.",
    board="svc-postgres",
)
