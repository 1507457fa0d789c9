"""A fixed hour of metrics, generated from one real scrape of the demo.

The scrape (`metrics.txt.gz`) was taken from the demo under traffic. It is the end of the hour:
every counter grows towards its value in waves, different for each label set, on two instances. So
boards look the same at any time and on any machine. A metric that was declared since then gets a
made-up series, so that a new panel has data. To take the scrape again, while the demo runs:
`curl -H "Authorization: Bearer $(cat var/secrets/metrics-token)"
localhost:8000/metrics | gzip -9n > tests/browser/metrics.txt.gz`.
"""

import gzip
import math
import re
import subprocess
import zlib
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from rules.alert_states import FIRING_SINCE
from rules.releases import DEPLOYED_AT
from vitals.metrics.catalogue import (
    CATALOGUE,
    HTTP_CLIENT_ACTIVE_REQUESTS,
    HTTP_CLIENT_REQUEST_DURATION,
    HTTP_CLIENT_REQUESTS_PER_REQUEST,
)
from vitals.metrics.declarations import AnyMetric, Histogram

END = int(datetime(2026, 11, 20, 13, 0, tzinfo=UTC).timestamp())
SECONDS = 3600
STEP = 30
DEPLOYED = END - 1800
"""The second instance has another version from then on."""
_PAGE = Path(__file__).with_name("metrics.txt.gz")
_SAMPLE = re.compile(r"(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_COUNTED = re.compile(r"_(total|bucket|count|sum)$")
_INSTANCES = ("api-1:8000", "api-2:8000")
_OTHER = 'job="shop",instance="shop-1:8000"'
"""Another service, which has no metrics but `app_build_info` and `vitals_workers`."""
_MOVING = (
    "active_requests",
    "active_websockets",
    "active_streams",
    "active_background_tasks",
    "resident_memory",
    "worker_threads_used",
    "memory_usage",
    "connection_count",
)
# The pool "reports" leaks: like all that ends in `_count`, its use grows, so forecasts have data.
_ODDITIES = """
db_client_connection_count{db_client_connection_pool_name="reports",state="used"} 90
db_client_connection_max{db_client_connection_pool_name="reports"} 100
slo_events_total{slo="availability",http_route="/api/orders",outcome="bad"} 13
db_client_n_plus_one_total{http_route="/api/orders",db_query_fingerprint="97b96044198c55d1"} 40
vitals_dropped_total{reason="labels"} 3
cache_requests_total{cache="product",layer="l1",result="hit"} 4000
cache_operation_errors_total{cache="product",operation="set",error_type="OOM"} 40
cache_l1_bytes 2500000
cache_bus_connected 1
system_memory_usage_bytes{scope="host"} 6400000000
system_memory_limit_bytes{scope="host"} 16000000000
system_memory_usage_bytes{scope="cgroup"} 900000000
system_memory_limit_bytes{scope="cgroup"} 2000000000
process_worker_resident_memory_max_bytes 90000000
asyncio_event_loop_blocked_seconds_bucket{le="0.025"} 35000
asyncio_event_loop_blocked_seconds_bucket{le="0.05"} 36000
asyncio_event_loop_blocked_seconds_bucket{le="+Inf"} 36000
asyncio_event_loop_cpu_wait_seconds_total 60
process_threads 14
anyio_worker_threads_used 3
anyio_worker_threads_limit 40
anyio_worker_threads_pending_tasks 0
asyncio_event_loop_blocking_site_seconds_total{site="orders:total:42",http_route="/api/orders"} 12
anyio_worker_threads_held_seconds_total{site="mail:send:17",http_route="/api/orders"} 30
cgroup_tasks 31
cgroup_tasks_limit 512
cgroup_cpu_limit_cores 1.5
cgroup_cpu_periods_total 36000
cgroup_cpu_throttled_periods_total 1800
system_filesystem_usage_bytes{folder="data"} 41000000000
system_filesystem_limit_bytes{folder="data"} 100000000000
process_worker_virtual_memory_max_bytes 900000000
process_virtual_memory_max_bytes +Inf
system_pressure_waiting_seconds_total{scope="host",resource="cpu"} 400
system_pressure_waiting_seconds_total{scope="host",resource="io"} 90
system_pressure_waiting_seconds_total{scope="cgroup",resource="cpu"} 250
vitals_workers 2
vitals_workers_ended_total 1
vitals_workers_crashed_total 1
vitals_errors_total{fingerprint="3f",type="KeyError",http_route="/api/orders",place="orders:sum"} 90
http_server_requests_refused_total{reason="syntax"} 12
http_server_active_streams 24
http_server_request_time_seconds_total{http_route="/api/orders",part="queue"} 120
http_server_request_time_seconds_total{http_route="/api/orders",part="middleware"} 40
http_server_request_time_seconds_total{http_route="/api/orders",part="dependencies"} 90
http_server_request_time_seconds_total{http_route="/api/orders",part="endpoint"} 150
http_server_request_time_seconds_total{http_route="/api/orders",part="pool_wait"} 80
http_server_request_time_seconds_total{http_route="/api/orders",part="query"} 600
http_server_request_time_seconds_total{http_route="/api/orders",part="serialisation"} 70
http_server_request_time_seconds_total{http_route="/api/orders",part="sending"} 20
http_server_stream_duration_seconds_bucket{http_route="/api/feed",le="60.0"} 200
http_server_stream_duration_seconds_bucket{http_route="/api/feed",le="300.0"} 380
http_server_stream_duration_seconds_bucket{http_route="/api/feed",le="+Inf"} 400
http_server_active_background_tasks{http_route="/api/orders"} 3
http_server_background_task_duration_seconds_bucket{http_route="/api/orders",le="0.5"} 500
http_server_background_task_duration_seconds_bucket{http_route="/api/orders",le="2.5"} 900
http_server_background_task_duration_seconds_bucket{http_route="/api/orders",le="+Inf"} 900
http_server_background_task_duration_seconds_count{http_route="/api/orders",error_type="OSError"} 40
db_client_statement_seconds_total{db_query_fingerprint="71ea2b9a8c7d6e5f",STATEMENT} 90
db_lock_sample_time_seconds{db_namespace="vitals"} 1
db_lock_waiting_sessions{db_namespace="vitals"} 3
db_lock_blocked_sessions{BLOCKER} 3
db_lock_blocking_seconds{BLOCKER} 130
db_lock_transaction_seconds{BLOCKER} 300
db_lock_blocker_pid{BLOCKER} 4711
db_lock_wait_seconds{BLOCKER,waiting_query_summary="UPDATE orders"} 8
db_lock_wait_seconds{BLOCKER,waiting_query_summary="SELECT products"} 5
""".replace(
    "BLOCKER",
    'db_namespace="vitals",application="psql",state="idle in transaction",'
    'db_query_summary="ALTER products"',
).replace(
    "STATEMENT",
    'http_route="/api/products/{product_id}",db_query_summary="SELECT products",'
    'site="service.products.repository:one:40"',
)
_SESSION = (
    'db_namespace="vitals",pid="4711",application="psql",user="support",'
    'state="idle in transaction",statement="LOCK TABLE products IN ACCESS EXCLUSIVE MODE"'
)
_LISTED = (
    ("71ea2b9a8c7d6e5f", "SELECT products", "SELECT * FROM products WHERE id = ?", 90),
    ("97b96044198c55d1", "INSERT orders", "INSERT INTO orders (user_id) VALUES (?)", 40),
)
_POSTGRES = f"""
postgres_up 1
postgres_connections{{state="active"}} 3
postgres_connections{{state="idle"}} 17
postgres_connections{{state="idle in transaction"}} 1
postgres_connections_limit 97
postgres_active_sessions{{wait_event_type="none"}} 2
postgres_active_sessions{{wait_event_type="Lock"}} 3
postgres_active_sessions{{wait_event_type="IO"}} 1
postgres_oldest_transaction_seconds 300
postgres_transaction_seconds{{{_SESSION}}} 300
postgres_lock_waiting_sessions{{db_namespace="vitals"}} 3
postgres_blocked_sessions{{{_SESSION}}} 3
postgres_blocker_idle_seconds{{{_SESSION}}} 290
postgres_blocker_transaction_seconds{{{_SESSION}}} 300
postgres_commits_total{{db_namespace="vitals"}} 90000
postgres_rollbacks_total{{db_namespace="vitals"}} 300
postgres_blocks_hit_total{{db_namespace="vitals"}} 9000000
postgres_blocks_read_total{{db_namespace="vitals"}} 90000
postgres_deadlocks_total{{db_namespace="vitals"}} 2
postgres_temp_bytes_total{{db_namespace="vitals"}} 400000000
postgres_database_size_bytes{{db_namespace="vitals"}} 41000000000
postgres_wraparound_ratio{{db_namespace="vitals"}} 0.08
postgres_table_dead_rows{{db_namespace="vitals",relation="public.orders"}} 40000
postgres_table_rows{{db_namespace="vitals",relation="public.orders"}} 2000000
postgres_table_size_bytes{{db_namespace="vitals",relation="public.orders"}} 900000000
postgres_table_vacuum_time_seconds{{db_namespace="vitals",relation="public.orders"}} {END - 7200}
postgres_vacuum_progress_ratio{{relation="public.orders",phase="scanning heap"}} 0.4
postgres_wal_bytes_total 9000000000
postgres_checkpoints_total{{reason="timed"}} 12
postgres_checkpoints_total{{reason="requested"}} 5
postgres_replication_lag_seconds{{standby="replica"}} 1.5
postgres_replication_lag_bytes{{standby="replica"}} 3000000
postgres_slot_retained_bytes{{slot="replica"}} 60000000
""" + "".join(
    f"""
postgres_statement_seconds_total{{db_query_summary="{summary}",db_query_fingerprint="{each}"}} {n}
postgres_statement_calls_total{{db_query_summary="{summary}",db_query_fingerprint="{each}"}} {n}000
postgres_statement_rows_total{{db_query_summary="{summary}",db_query_fingerprint="{each}"}} {n}00
postgres_statement_blocks_total{{db_query_summary="{summary}",db_query_fingerprint="{each}"}} {n}000
postgres_statement_blocks_read_total{{db_query_summary="{summary}",db_query_fingerprint="{each}"}} 9
postgres_statement_text{{db_query_fingerprint="{each}",statement="{sql}"}} 1
"""
    for each, summary, sql, n in _LISTED
)
"""What the reader of PostgreSQL exports."""
_REDIS = (
    """
redis_server_up{server_address="cache-1:6379"} 1
redis_server_start_time_seconds 1790000000
redis_server_loading 0
redis_server_ping_seconds 0.0004
redis_server_clients 24
redis_server_clients_limit 10000
redis_server_blocked_clients 2
redis_server_connections_total 900
redis_server_rejected_connections_total 4
redis_server_memory_bytes 95000000
redis_server_memory_rss_bytes 112000000
redis_server_memory_limit_bytes 134217728
redis_server_fragmentation_ratio 1.18
redis_server_keys{db_namespace="0"} 41000
redis_server_expiring_keys{db_namespace="0"} 40000
redis_server_expired_keys_total 9000
redis_server_evicted_keys_total 300
redis_server_hits_total 800000
redis_server_misses_total 90000
redis_server_received_bytes_total 90000000
redis_server_sent_bytes_total 400000000
redis_server_cpu_seconds_total{mode="user"} 90
redis_server_cpu_seconds_total{mode="system"} 60
redis_server_command_seconds_total{command="mget"} 30
redis_server_command_calls_total{command="mget"} 600000
redis_server_command_failures_total{command="mget"} 0
redis_server_command_rejections_total{command="mget"} 0
redis_server_command_seconds_total{command="set"} 9
redis_server_command_calls_total{command="set"} 90000
redis_server_command_failures_total{command="set"} 200
redis_server_command_rejections_total{command="set"} 40
redis_server_slow_commands_total{command="mget"} 12
redis_server_slow_commands_total{command="set"} 1
redis_server_slow_command_seconds{command="mget",arguments="100 to 999",client="shop"} 0.041
redis_server_errors_total{error="OOM"} 200
redis_server_errors_total{error="WRONGTYPE"} 40
redis_server_save_ok 1
redis_server_save_seconds 2
redis_server_fork_seconds 0.004
redis_server_unsaved_changes 5000
redis_server_aof_ok 1
redis_server_aof_bytes 60000000
redis_server_replicas 1
redis_server_link_up 1
redis_server_replica_lag_bytes{replica="10.0.0.9:6379"} 30000
redis_server_replica_lag_seconds{replica="10.0.0.9:6379"} 1
redis_server_link_silent_seconds 1
"""
    'redis_server_info{software="redis",version="7.0.15",role="primary",mode="standalone",'
    f'maxmemory_policy="volatile-lfu"}} 1\n'
    f"redis_server_save_time_seconds {END - 700}\n"
)
"""What the reader of Redis exports."""
_CALLS = (
    ("payments.example", "POST", "200", "", 4_000),
    ("payments.example", "POST", "", "ReadTimeout", 40),
    ("stock.example", "GET", "200", "", 9_000),
)
"""Requests to other services, which the API does not send."""
_REPLACED = {'slo_events_total{slo="availability",http_route="/api/orders",outcome="bad"} 0.0'}
"""What a healthy service does not export, so that panels of errors have data."""
_FAILING = re.compile(
    r'(?P<before>.*(method="POST",http_route="/api/orders".*"201"|"INSERT orders".*),error_type=)""'
    r"(?P<rest>.*) (?P<value>\S+)$"
)
_FAILED = 0.02
"""The share of orders that failed in this hour."""
_DEPLOYMENTS = {
    'job="api",version="0",revision=""': END - 7 * 3600,
    'job="api",version="1",revision=""': DEPLOYED,
    'job="shop",version="7",revision=""': END - 50 * 3600,
}
"""When each version was deployed; it reads its own last value, which a pass over past data does not
find."""
_ALERTS = """
ALERTS{alertname="LatencyP95High",alertstate="firing",severity="ticket",job="api"}
ALERTS{alertname="BudgetBurn",alertstate="firing",severity="page",job="api",slo="latency"}
ALERTS{alertname="Watchdog",alertstate="firing",severity="none"}
"""


def _moments() -> range:
    return range(END - SECONDS, END + 1, STEP)


def _wave(labels: str, part: float) -> float:
    """From 0 to 1, monotonic, in waves whose phase depends on the labels."""
    phase = zlib.crc32(re.sub(r',?le="[^"]*"', "", labels).encode()) % 628 / 100
    swing = 0.6 / (2 * math.pi * 3)
    return part + swing * (math.sin(2 * math.pi * 3 * part + phase) - math.sin(phase))


def _value(name: str, labels: str, value: float, part: float) -> float:
    if _COUNTED.search(name):
        return value * max(0.0, _wave(labels, part))
    if name == "db_lock_sample_time_seconds":
        return END  # time stands still in a picture
    if name == "process_start_time_seconds":
        return END - 7 * 3600
    if any(word in name for word in _MOVING):
        return round(max(value, 2) * (0.7 + 0.3 * math.sin(9 * part + len(labels))))
    return value


def declared(page: str) -> Iterator[str]:
    """Samples of each metric of the catalogue that a page lacks and the boards may query."""
    for metric in CATALOGUE.values():
        if not re.search(rf"^(# TYPE )?{metric.name}(_bucket)?[ {{]", page, re.MULTILINE):
            labels = [f'{name}="example"' for name in metric.label_names]
            yield from _samples(metric, labels)


def _samples(metric: AnyMetric, labels: list[str]) -> Iterator[str]:
    def sample(suffix: str, value: float, *more: str) -> str:
        return f"{metric.name}{suffix}{{{','.join([*labels, *more])}}} {value}"

    if not isinstance(metric, Histogram):
        yield sample("", 100)
        return
    edges = (*metric.buckets, math.inf)
    for number, edge in enumerate(edges, start=1):
        yield sample("_bucket", 100 * number, f'le="{"+Inf" if edge == math.inf else edge}"')
    yield sample("_count", 100 * len(edges))
    yield sample("_sum", 100 * sum(metric.buckets))


def _calls() -> Iterator[str]:
    """Samples of outgoing requests, and of how many one request caused."""
    for server in sorted({server for server, *_ in _CALLS}):
        labels = f'server_address="{server}",server_port="443"'
        yield f"{HTTP_CLIENT_ACTIVE_REQUESTS.name}{{{labels}}} 3"
    for server, method, status, error_type, number in _CALLS:
        where = f'server_address="{server}",server_port="443"'
        labels = (
            f'http_request_method="{method}",{where},http_response_status_code="{status}",'
            f'error_type="{error_type}"'
        )
        yield from _spread(HTTP_CLIENT_REQUEST_DURATION, labels, number)
    route = 'http_route="/api/orders"'
    yield from _spread(HTTP_CLIENT_REQUESTS_PER_REQUEST, route, 500)


def _spread(metric: Histogram[Any], labels: str, number: int) -> Iterator[str]:
    """Samples of observations that are spread evenly over the lower half of the buckets."""
    half = len(metric.buckets) // 2
    for position, edge in enumerate((*metric.buckets, math.inf), start=1):
        below = number * min(position, half) // half
        bound = "+Inf" if edge == math.inf else edge
        yield f'{metric.name}_bucket{{{labels},le="{bound}"}} {below}'
    yield f"{metric.name}_count{{{labels}}} {number}"
    yield f"{metric.name}_sum{{{labels}}} {number * metric.buckets[half // 2]}"


def _page() -> Iterator[str]:
    calls = "".join(f"{line}\n" for line in _calls())
    page = gzip.decompress(_PAGE.read_bytes()).decode() + _ODDITIES + calls
    for line in (*page.splitlines(), *declared(page)):
        yield line
        if failing := _FAILING.match(line):
            before = failing["before"].replace('"201"', '"500"')
            failed = float(failing["value"]) * _FAILED
            yield f'{before}"OperationalError"{failing["rest"]} {failed}'


def _lines() -> Iterator[str]:
    for line in _page():
        found = _SAMPLE.match(line)
        if line.startswith("#") or not found or line in _REPLACED:
            continue
        name, labels, value = found["name"], found["labels"] or "", float(found["value"])
        for instance in _INSTANCES:
            own = ",".join(filter(None, [labels, f'job="api",instance="{instance}"']))
            yield from _past(name, own, value)
    for page, reader in (
        (_POSTGRES, 'job="postgres",instance="db-1:9187"'),
        (_REDIS, 'job="redis",instance="cache-1:9121"'),
    ):
        for line in page.split("\n"):
            if found := _SAMPLE.match(line):
                own = ",".join(filter(None, [found["labels"], reader]))
                yield from _past(found["name"], own, float(found["value"]))
    yield from _past("app_build_info", f'version="7",revision="",{_OTHER}', 1)
    yield from _past("vitals_workers", _OTHER, 1)  # which the boards offer the jobs of
    for instance in _INSTANCES:
        yield from _past("up", f'job="api",instance="{instance}"', 1)
    yield from _deployments()
    yield from _alerts()


def _deployments() -> Iterator[str]:
    for labels, since in _DEPLOYMENTS.items():
        deployed = f"{DEPLOYED_AT.record}{{{labels}}} {since}"
        yield from (f"{deployed} {at}" for at in _moments() if at > since)


def _alerts() -> Iterator[str]:
    for alert in _ALERTS.split("\n"):
        if alert:
            yield from (f"{alert} 1 {at}" for at in _moments() if at > END - 900)
            since = alert.replace("ALERTS", "ALERTS_FOR_STATE").replace('alertstate="firing",', "")
            yield from (f"{since} {END - 900} {at}" for at in _moments() if at > END - 900)
            # It reads its own last value, which a pass over past data does not find.
            since = alert.replace("ALERTS", FIRING_SINCE.record).replace(',alertstate="firing"', "")
            yield from (f"{since} {END - 900} {at}" for at in _moments() if at > END - 900)


def _past(name: str, labels: str, value: float) -> Iterator[str]:
    for at in _moments():
        shown = labels
        if name == "app_build_info" and "api-2" in labels and at >= DEPLOYED:
            shown = labels.replace('version="0"', 'version="1"')
        part = (at - _moments()[0]) / SECONDS
        yield f"{name}{{{shown}}} {_value(name, labels, value, part):.9g} {at}"


def write_raw(data: Path) -> None:
    """Write the blocks of the scraped series."""
    text = data.with_suffix(".om")
    text.write_text("\n".join([*_lines(), "# EOF", ""]))
    _promtool("create-blocks-from", "openmetrics", "--max-block-duration=24h", text, data)
    text.unlink()


def write_recorded(data: Path, rules: Path, url: str, records: Collection[str]) -> None:
    """Write the blocks of some recording rules, from the existing blocks."""
    recording = data.with_name("recording.yml")
    groups = [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("record") in records]}
        for file in sorted(rules.glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
    ]
    recording.write_text(yaml.safe_dump({"groups": [g for g in groups if g["rules"]]}))
    span = [f"--start={END - SECONDS}", f"--end={END}", f"--eval-interval={STEP}s"]
    # The moments of evaluation follow from the file's name as it is given.
    _promtool(
        *("create-blocks-from", "rules", f"--url={url}", f"--output-dir={data}", *span),
        recording.name,
        folder=recording.parent,
    )


def _promtool(*words: str | Path, folder: Path | None = None) -> None:
    done = subprocess.run(
        ["promtool", "tsdb", *words], capture_output=True, text=True, check=False, cwd=folder
    )
    if done.returncode:
        raise RuntimeError(f"promtool {words[1]}: {done.stdout[-500:]}{done.stderr[-500:]}")
