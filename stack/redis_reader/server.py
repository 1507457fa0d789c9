"""Server: what `INFO` says, as samples."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rules.redis_metrics import (
    REDIS_AOF,
    REDIS_AOF_BYTES,
    REDIS_AOF_OK,
    REDIS_BLOCKED_CLIENTS,
    REDIS_CLIENTS,
    REDIS_CLIENTS_LIMIT,
    REDIS_COMMAND_CALLS,
    REDIS_COMMAND_FAILED,
    REDIS_COMMAND_REJECTED,
    REDIS_COMMAND_SECONDS,
    REDIS_CONNECTIONS,
    REDIS_CPU,
    REDIS_ERRORS,
    REDIS_EVICTED,
    REDIS_EXPIRED,
    REDIS_FORK_SECONDS,
    REDIS_FRAGMENTATION,
    REDIS_HITS,
    REDIS_INFO,
    REDIS_KEYS,
    REDIS_KEYS_EXPIRING,
    REDIS_LAG_BYTES,
    REDIS_LAG_SECONDS,
    REDIS_LINK_SILENT,
    REDIS_LINK_UP,
    REDIS_LOADING,
    REDIS_MEMORY,
    REDIS_MEMORY_LIMIT,
    REDIS_MEMORY_RSS,
    REDIS_MISSES,
    REDIS_RECEIVED,
    REDIS_REJECTED,
    REDIS_REPLICAS,
    REDIS_SAVE_OK,
    REDIS_SAVE_SECONDS,
    REDIS_SAVED,
    REDIS_SENT,
    REDIS_STARTED,
    REDIS_SYSTEM_MEMORY,
    REDIS_UNSAVED,
)
from stack.readings.sample import BoundedCounts, Sample, largest
from vitals.redaction.secret_patterns import redact_patterns, redact_random_words

COMMANDS = 30
ERRORS = 10
DATABASES = 10
REPLICAS = 10
"""Commands, errors, databases and replicas with series of their own."""

Info = Mapping[str, Any]
"""An answer of ``INFO``, as redis-py parses it."""

_COUNTS = {
    "total_connections_received": REDIS_CONNECTIONS,
    "rejected_connections": REDIS_REJECTED,
    "expired_keys": REDIS_EXPIRED,
    "evicted_keys": REDIS_EVICTED,
    "keyspace_hits": REDIS_HITS,
    "keyspace_misses": REDIS_MISSES,
    "total_net_input_bytes": REDIS_RECEIVED,
    "total_net_output_bytes": REDIS_SENT,
}
_GAUGES = {
    "loading": REDIS_LOADING,
    "connected_clients": REDIS_CLIENTS,
    "maxclients": REDIS_CLIENTS_LIMIT,
    "blocked_clients": REDIS_BLOCKED_CLIENTS,
    "used_memory": REDIS_MEMORY,
    "used_memory_rss": REDIS_MEMORY_RSS,
    "total_system_memory": REDIS_SYSTEM_MEMORY,
    "mem_fragmentation_ratio": REDIS_FRAGMENTATION,
    "rdb_changes_since_last_save": REDIS_UNSAVED,
    "aof_enabled": REDIS_AOF,
    "aof_current_size": REDIS_AOF_BYTES,
    "connected_slaves": REDIS_REPLICAS,
}
_MICROSECONDS = 1e6
_DATABASE = re.compile(r"db(\d+)")
_REPLICA = re.compile(r"slave\d+")


class Server:
    """Reads the answers of one server."""

    def __init__(self) -> None:
        self._counts = {name: BoundedCounts((metric,), 1) for name, metric in _COUNTS.items()}
        self._cpu = BoundedCounts((REDIS_CPU,), 2)
        self._commands = BoundedCounts(
            (
                *(REDIS_COMMAND_SECONDS, REDIS_COMMAND_CALLS),
                *(REDIS_COMMAND_FAILED, REDIS_COMMAND_REJECTED),
            ),
            COMMANDS,
        )
        self._errors = BoundedCounts((REDIS_ERRORS,), ERRORS)

    def read(self, info: Info) -> list[Sample]:
        """What an answer says."""
        return [
            *_identity(info),
            *(Sample(metric, (), info[name]) for name, metric in _GAUGES.items() if name in info),
            *_memory_limit(info),
            *_keyspace(info),
            *_persistence(info),
            *_replication(info),
            *self._count(info),
        ]

    def _count(self, info: Info) -> Iterator[Sample]:
        for name, counts in self._counts.items():
            if name in info:
                counts.add({"": ((), (float(info[name]),))})
                yield from counts.samples()
        seconds = {
            "user": info.get("used_cpu_user", 0.0) + info.get("used_cpu_user_children", 0.0),
            "system": info.get("used_cpu_sys", 0.0) + info.get("used_cpu_sys_children", 0.0),
        }
        self._cpu.add({mode: ((mode,), (spent,)) for mode, spent in seconds.items()})
        commands = {
            name.removeprefix("cmdstat_").lower(): values
            for name, values in info.items()
            if name.startswith("cmdstat_")
        }
        self._commands.add(
            {
                name: (
                    (name[:40],),
                    (
                        values["usec"] / _MICROSECONDS,
                        float(values["calls"]),
                        float(values.get("failed_calls", 0)),
                        float(values.get("rejected_calls", 0)),
                    ),
                )
                for name, values in commands.items()
            }
        )
        errors = {
            name.removeprefix("errorstat_"): float(values["count"])
            for name, values in info.items()
            if name.startswith("errorstat_")
        }
        # A script may send any text as an error.
        self._errors.add({name: ((_shown(name, 40),), (n,)) for name, n in errors.items()})
        for several in (self._cpu, self._commands, self._errors):
            yield from several.samples()


def _identity(info: Info) -> Iterator[Sample]:
    valkey = "valkey_version" in info
    labels = (
        "valkey" if valkey else "redis",
        str(info["valkey_version" if valkey else "redis_version"]),
        "replica" if info.get("role") == "slave" else "primary",
        str(info.get("redis_mode", info.get("server_mode", ""))),
        str(info.get("maxmemory_policy", "")),
    )
    yield Sample(REDIS_INFO, labels, 1.0)
    if "server_time_usec" in info:
        started = info["server_time_usec"] / _MICROSECONDS - info["uptime_in_seconds"]
        yield Sample(REDIS_STARTED, (), float(int(started)))


def _memory_limit(info: Info) -> Iterator[Sample]:
    if limit := info.get("maxmemory"):
        yield Sample(REDIS_MEMORY_LIMIT, (), limit)


def _keyspace(info: Info) -> Iterator[Sample]:
    found = (
        (match[1], (float(values["keys"]), float(values["expires"])))
        for name, values in info.items()
        if (match := _DATABASE.fullmatch(name))
    )
    for database, (keys, expiring) in largest(found, DATABASES) or [("0", (0.0, 0.0))]:
        yield Sample(REDIS_KEYS, (database,), keys)
        yield Sample(REDIS_KEYS_EXPIRING, (database,), expiring)


def _persistence(info: Info) -> Iterator[Sample]:
    yield Sample(REDIS_SAVE_OK, (), _is_ok(info, "rdb_last_bgsave_status"))
    if (seconds := info.get("rdb_last_bgsave_time_sec", -1)) >= 0:
        # Before the first one, it is the time of the start.
        yield Sample(REDIS_SAVED, (), info["rdb_last_save_time"])
        yield Sample(REDIS_SAVE_SECONDS, (), seconds)
    if info.get("aof_enabled"):
        written = _is_ok(info, "aof_last_write_status")
        rewritten = _is_ok(info, "aof_last_bgrewrite_status")
        yield Sample(REDIS_AOF_OK, (), min(written, rewritten))
    if fork := info.get("latest_fork_usec"):
        yield Sample(REDIS_FORK_SECONDS, (), fork / _MICROSECONDS)


def _is_ok(info: Info, name: str) -> float:
    return float(info.get(name, "ok") == "ok")


def _replication(info: Info) -> Iterator[Sample]:
    replicas = [values for name, values in info.items() if _REPLICA.fullmatch(name)]
    offset = info.get("master_repl_offset", 0)
    behind = sorted(replicas, key=lambda each: each["offset"])[:REPLICAS]
    for each in behind:
        name = f"{each['ip']}:{each['port']}"
        yield Sample(REDIS_LAG_BYTES, (name,), max(0.0, float(offset - each["offset"])))
        if each["state"] == "online":  # before, it does not confirm
            yield Sample(REDIS_LAG_SECONDS, (name,), each["lag"])
    if info.get("role") == "slave":
        yield Sample(REDIS_LINK_UP, (), float(info.get("master_link_status") == "up"))
        silent = max(
            info.get("master_last_io_seconds_ago", -1),
            info.get("master_link_down_since_seconds", -1),
        )
        if silent >= 0:
            yield Sample(REDIS_LINK_SILENT, (), silent)


def _shown(text: str, most: int) -> str:
    """A text that clients choose, without secrets."""
    return redact_random_words(redact_patterns(text))[:most]
