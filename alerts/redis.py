"""Alerts on what Redis says of itself.

All are tickets: whether requests wait or fail, the services that use the server say, with a
page. A cache that is away is no outage.
"""

from alerts.alert import Alert, Severity
from rules.redis_metrics import (
    REDIS_AOF_OK,
    REDIS_CLIENTS,
    REDIS_CLIENTS_LIMIT,
    REDIS_EVICTED,
    REDIS_INFO,
    REDIS_KEYS,
    REDIS_KEYS_EXPIRING,
    REDIS_LAG_BYTES,
    REDIS_LAG_SECONDS,
    REDIS_LINK_UP,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
    REDIS_REJECTED,
    REDIS_REPLICAS,
    REDIS_SAVE_OK,
    REDIS_UP,
)
from vitals.metrics.declarations import matching

FULL_SHARE = 0.9
"""The share of maxmemory from which on a server that may not evict soon refuses writes."""
FEW_EXPIRING = 0.1
"""The share of keys with a TTL below which a policy ``volatile-...`` finds little to evict."""
CROWDED_SHARE = 0.85
"""The share of connections from which on the next burst may get none."""
TURNOVER = 0.5
"""Keys evicted within ten minutes, per key there is: a key then lives for about twenty minutes."""
MIN_EVICTED = 100
"""Evictions within ten minutes; fewer say nothing of a small server."""
MAX_SILENCE = 10
"""Seconds for which a replica confirms nothing; it does so each second."""
MAX_BEHIND = 64 << 20
"""Bytes that a replica has not confirmed; beyond the backlog it must copy everything anew."""
_INSTANCE = ("job", "instance")
_ON = ", ".join(_INSTANCE)

REDIS_UNREACHABLE = Alert(
    name="RedisUnreachable",
    expr=f"{REDIS_UP.max(*_INSTANCE, 'server_address')} == 0",
    fires_when="Redis does not answer its reader",
    severity=Severity.TICKET,
    for_="15s",  # before the services tell of the same, so that one message is sent
    summary="The Redis of {{ $labels.job }} does not answer its reader {{ $labels.instance }}",
    description="It is down, hangs in a command, takes no connections, or refuses the reader's "
    "user. Nothing is known of its memory, saves and replicas meanwhile.",
    board="svc-redis",
)

_USED = f"{REDIS_MEMORY.max(*_INSTANCE)} / {REDIS_MEMORY_LIMIT.max(*_INSTANCE)}"
_NEVER = f"{REDIS_INFO.max(*_INSTANCE, maxmemory_policy='noeviction')}"
_VOLATILE = REDIS_INFO.max(*_INSTANCE, maxmemory_policy=matching("volatile-.+"))
_FEW = (
    f"{REDIS_KEYS_EXPIRING.sum(*_INSTANCE)} / {REDIS_KEYS.sum(*_INSTANCE)} < {FEW_EXPIRING} "
    f"and on ({_ON}) {_VOLATILE}"
)
REDIS_MEMORY_NEAR_LIMIT = Alert(
    name="RedisMemoryNearLimit",
    expr=f"{_USED} > {FULL_SHARE} and on ({_ON}) ({_NEVER} or {_FEW})",
    fires_when="90% of maxmemory are used, and little or nothing may be evicted",
    not_when="keys may be evicted: a cache is full by design",
    severity=Severity.TICKET,
    for_="2m",
    keep_firing_for="2m",
    summary="The Redis of {{ $labels.job }} runs out of memory",
    description="{{ $value | humanizePercentage }} of maxmemory are used, and it may evict "
    "nothing, or too little; when it is full it refuses every write (OOM).",
    board="svc-redis",
)

REDIS_EVICTS = Alert(
    name="RedisEvicts",
    expr=f"{REDIS_EVICTED.increase(*_INSTANCE, window='10m')} > {TURNOVER} * "
    f"{REDIS_KEYS.sum(*_INSTANCE)} and {REDIS_EVICTED.increase(*_INSTANCE, window='10m')} "
    f"> {MIN_EVICTED}",
    fires_when="within ten minutes as many keys are evicted as half of those there are",
    not_when="fewer than 100 in 10m",
    severity=Severity.TICKET,
    for_="10m",
    keep_firing_for="10m",
    summary="The Redis of {{ $labels.job }} evicts keys soon after they are stored",
    description="It evicted {{ $value | humanize }} keys within ten minutes: what is stored does "
    "not fit into maxmemory, so it is loaded again and again.",
    board="svc-redis",
)

REDIS_PERSISTENCE_FAILS = Alert(
    name="RedisPersistenceFails",
    expr=f"({REDIS_SAVE_OK.max(*_INSTANCE)} == 0) or ({REDIS_AOF_OK.max(*_INSTANCE)} == 0)",
    fires_when="the last save, or the append-only file, failed",
    severity=Severity.TICKET,
    for_="1m",
    summary="The Redis of {{ $labels.job }} cannot save its data",
    description="The last save to disk, or the last write to the append-only file or its rewrite, "
    "failed. A crash would lose what changed since; by default it refuses writes (MISCONF).",
    board="svc-redis",
)

REDIS_CONNECTIONS_RUN_OUT = Alert(
    name="RedisConnectionsRunOut",
    expr=f"{REDIS_CLIENTS.max(*_INSTANCE)} / {REDIS_CLIENTS_LIMIT.max(*_INSTANCE)} "
    f"> {CROWDED_SHARE} or {REDIS_REJECTED.increase(*_INSTANCE, window='5m')} > 0",
    fires_when="more than 85% of maxclients are connected, or a client was refused",
    severity=Severity.TICKET,
    for_="2m",
    keep_firing_for="2m",
    summary="The Redis of {{ $labels.job }} runs out of connections",
    description=f'{{{{ range printf "{REDIS_CLIENTS.name}{{job=%q,instance=%q}}" $labels.job '
    "$labels.instance | query }}{{ .Value | humanize }} clients are connected{{ end }}"
    f'{{{{ range printf "{REDIS_CLIENTS_LIMIT.name}{{job=%q,instance=%q}}" $labels.job '
    "$labels.instance | query }}, of {{ .Value | humanize }}. {{ end }}With all of them in use, "
    "every service that connects gets an error.",
    board="svc-redis",
)

REDIS_REPLICA_LAGS = Alert(
    name="RedisReplicaLags",
    expr=f"{REDIS_LAG_SECONDS.max(*_INSTANCE, 'replica')} > {MAX_SILENCE} "
    f"or {REDIS_LAG_BYTES.max(*_INSTANCE, 'replica')} > {MAX_BEHIND}",
    fires_when="a replica has confirmed nothing for 10 s, or is 64 MiB behind",
    severity=Severity.TICKET,
    for_="30s",
    keep_firing_for="2m",
    summary="Replica {{ $labels.replica }} of the Redis of {{ $labels.job }} lags",
    description=f'{{{{ range printf "{REDIS_LAG_BYTES.name}{{job=%q,instance=%q,replica=%q}}" '
    "$labels.job $labels.instance $labels.replica | query }}It has not confirmed "
    "{{ .Value | humanize1024 }}B. {{ end }}What is read there is old, and a failover to it would "
    "lose that.",
    board="svc-redis",
)

REDIS_REPLICA_GONE = Alert(
    name="RedisReplicaGone",
    expr=f"{REDIS_REPLICAS.max(*_INSTANCE)} < "
    f"max by ({_ON}) (max_over_time({REDIS_REPLICAS.select('', '1h')})) "
    f"or {REDIS_LINK_UP.max(*_INSTANCE)} == 0",
    fires_when="a primary has fewer replicas than within the last hour, or a replica no primary",
    severity=Severity.TICKET,
    for_="2m",
    summary="Replication of the Redis of {{ $labels.job }} is broken",
    description="{{ $labels.instance }} has fewer replicas than within the last hour, or is one "
    "that has lost its primary. A failover would lose data.",
    board="svc-redis",
)
