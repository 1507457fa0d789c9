"""Runs the stack in the foreground: prepares, starts, prints the addresses, and waits."""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from textwrap import indent

from stack import command_line, monitoring_config, monitoring_services, pair, readiness, services
from stack.door import service as door
from stack.door.settings import DoorSettings
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.process_record import ProcessRecord, RecordWriter
from stack.process import lock, orphans, reaper
from stack.process.ends import describe_seconds
from stack.process.log_multiplexer import LogMultiplexer
from stack.process.runner import REAPER, Runner
from stack.process.runner_metrics import RunnerMetrics
from stack.process.service import AVAILABLE, Service, ServiceStatus, State
from stack.terminal import print_line
from stack.text_table import text_table
from stack.watched_services import WatchedRedis, WatchedService
from vitals import secure_files
from vitals.metrics import process_identity

WRITTEN = (
    *("postgres", "postgres.draft", "redis", "prometheus", "alertmanager", "inbox", "secrets"),
    *("handout", "log", "bin", "site", "site.new", "copies", "drill", "suites", "matrix"),
    *("store", "issues", "door", "running.json", "lock", pair.FOLDER),
)
"""Names of everything that the stack writes to its data folder."""
_OF_API = ("api", "postgres", "redis", "postgres_reader", "redis_reader")
"""Ports that are not used where services of others are watched."""


def run(
    here: Installation,
    *,
    command: str,
    amounts: Mapping[str, int] | None = None,
    fast: bool = False,
    watched: Sequence[WatchedService] = (),
    redis: WatchedRedis | None = None,
) -> int:
    """Run the stack until it is stopped; services that end are started again.

    Args:
        here: The installation.
        command: The command that runs, for the error message of a second start.
        amounts: Sizes of the sample data, which also get traffic; `None` for neither.
        fast: Run the rules many times faster, and notify the inbox only.
        watched: Services to watch in place of an API and databases of its own.
        redis: The Redis of these services, if it is read.

    Returns:
        The exit code: 0 after a stop signal, 1 after the first start of a service failed or, with
        `FAIL_FAST=1` in the environment, after one ended.

    Raises:
        AlreadyRunningError: Another stack runs in the same data folder.
        OrphansError: Processes of a killed stack do not end.
        PortError: A port is taken.
        WeakSecretError: A provided secret is weak.
        PublicUrlError: The public address is wrong.
        DoorSettingsError: Another setting of the door is.
        OSError: A file of the stack cannot be read or written.
    """
    settings = DoorSettings.read(os.environ)
    secure_files.make_directories(here.data)
    secure_files.make_directory(here.log)
    held = lock.acquire(here.lock, command)
    _end_orphans(here)
    here.ports.check_free(without=_OF_API if watched else ())
    secrets.make(here.secrets, None)
    metrics = RunnerMetrics()
    ports = replace(
        here.ports,
        runner=metrics.serve(here.ports.runner),
        postgres_reader=0 if watched else here.ports.postgres_reader or readiness.free_port(),
        redis_reader=(
            0 if watched and not redis else here.ports.redis_reader or readiness.free_port()
        ),
    )
    here = replace(here, ports=ports)
    here = _with_ports_of_pair(here)
    command_line.write(here, watched)
    logs = LogMultiplexer(here.log)
    chosen = _choose(here, settings, amounts=amounts, fast=fast, watched=watched, redis=redis)
    chosen = [_with_marker(service, orphans.marker(here.data)) for service in chosen]
    record = RecordWriter(here.record_path, here.ports, here.public.origin if here.public else "")
    logs.log(f"starting {', '.join(service.name for service in chosen)}")
    reaper_process = reaper.Reaper(held)

    def publish(status: ServiceStatus) -> None:
        metrics.update(status)
        if status.name != REAPER:
            record.update(
                status.name, status.state, pid=status.pid, ends=status.ends, task=status.task
            )

    metrics.update(ServiceStatus(REAPER, State.READY, reaper_process.pid))

    def announce() -> None:
        record.set_ready()
        logs.show(addresses(here, has_api=not watched))

    try:
        return Runner(
            chosen, logs, reaper_process, publish, fail_fast=os.environ.get("FAIL_FAST") == "1"
        ).run(announce)
    finally:
        reaper_process.close()
        record.close()


def _choose(
    here: Installation,
    settings: DoorSettings | None,
    *,
    amounts: Mapping[str, int] | None,
    fast: bool,
    watched: Sequence[WatchedService],
    redis: WatchedRedis | None,
) -> list[Service]:
    """The services of the stack; the arguments are those of `run`."""
    own = (
        [] if watched else [*services.databases(here), *services.readers(here), services.api(here)]
    )
    if redis:
        own = [services.redis_reader(here, redis.url, redis.password_file)]
    mail_port = readiness.free_port()
    return [
        *own,
        services.inbox(here, mail_port),
        services.store(here),
        services.issues(here),
        *monitoring_services.monitoring(
            here,
            monitoring_services.prometheus_secrets(here),
            fast=fast,
            mail_port=mail_port,
            watched=watched,
        ),
        services.boards(here),
        *([door.service(here, settings, os.environ.get("TRACE_URL", ""))] if settings else ()),
        *(services.sample_data(here, amounts) if amounts is not None else ()),
    ]


def _with_ports_of_pair(here: Installation) -> Installation:
    """The same installation, whose second half has ports where it is one of a pair."""
    ports = here.ports
    if not here.pair:
        return here
    ports = replace(
        ports,
        prometheus_2=ports.prometheus_2 or readiness.free_port(),
        alertmanager_2=ports.alertmanager_2 or readiness.free_port(),
    )
    return replace(here, ports=ports)


def clean(here: Installation) -> None:
    """Remove what the stack wrote to its data folder, and the folder if it is empty then.

    Raises:
        AlreadyRunningError: The stack is running.
        OrphansError: Processes of a killed stack do not end.
        OSError: A file cannot be removed.
    """
    if not here.data.exists():
        return
    os.close(lock.acquire(here.lock, "python -m stack clean"))
    _end_orphans(here)
    for name in WRITTEN:
        secure_files.remove_tree(here.data / name)
    with suppress(OSError):  # a link, or files of others are in it
        here.data.rmdir()


def _end_orphans(here: Installation) -> None:
    if left := orphans.find(here):
        print_line("ending processes of a killed stack:")
        print_line("\n".join(f"  {orphan}" for orphan in left))
        orphans.end(left)


def _with_marker(service: Service, marker: str) -> Service:
    """The same service, whose processes can be found after this one is killed."""
    env = {**service.program.env, orphans.MARKER_VARIABLE: marker}
    return replace(service, program=replace(service.program, env=env))


def addresses(here: Installation, *, has_api: bool = True) -> str:
    """A table of the addresses of the stack."""
    ports, host = here.ports, f"http://{readiness.LOOPBACK}"
    viewer = monitoring_config.viewer_url(here)
    of_api = [
        ("API", f"{host}:{ports.api}/docs"),
        ("metrics", f"{host}:{ports.api}/metrics (token: {here.secrets}/metrics-token)"),
        ("logins", f"admin@example.com and user1@example.com, passwords in {here.secrets}"),
    ]
    of_door = door.login_hints(here, DoorSettings.read(os.environ)) if here.public else []
    rows = [
        *(of_api if has_api else ()),
        *of_door,
        ("boards", f"{viewer}/"),
        *(
            (("boards, second", f"{host}:{ports.prometheus_2}/user/"),)
            if ports.prometheus_2
            else ()
        ),
        ("queries", f"{viewer}/query/"),
        ("alerts", f"{viewer}/alerts/"),
        ("silences", f"{viewer}/silences/"),
        ("targets", f"{viewer}/targets/"),
        ("rules", f"{viewer}/rules/"),
        ("runbooks", f"{viewer}/runbooks/"),
        ("notifications", f"{host}:{ports.inbox}"),
        ("traces", f"{viewer}/traces/"),
        ("log lines", f"{viewer}/logs/"),
        ("issues", f"{viewer}/issues/"),
        ("OTLP", f"{host}:{ports.store} (http/protobuf or http/json, traces and logs)"),
        ("logs", f"{here.log}"),
    ]
    commands = indent(command_line.examples(here, has_api=has_api), "  ")
    return f"\nReady.\n{indent(text_table(rows), '  ')}\n\n  On the command line:\n{commands}\n"


def status(here: Installation, command: str = "make demo or make up") -> int:
    """Print whether a stack runs in this data folder, and its addresses; 0 when ready, else 3.

    Args:
        here: The installation.
        command: What would start it.

    Raises:
        OSError: The lock or the process record cannot be read.
    """
    if not lock.is_held(here.lock):
        print(f"not running: start it with {command}")
        if left := orphans.find(here):
            print("processes of a killed stack, which the next start ends first:")
            print("\n".join(f"  {orphan}" for orphan in left))
        return 3
    here = here.with_recorded_ports()
    pid, command = lock.holder(here.lock)
    record = here.read_record()
    if not lock.holder_is_alive(here.lock):
        print(f"{command} (pid {pid}) was killed, its processes are being ended:")
        print("\n".join(f"  {orphan}" for orphan in orphans.find(here)))
        return 3
    ready = record is not None and record.ready
    print(f"{command} is running (pid {pid}){'' if ready else ', not ready yet'}")
    states = _states(record) if record else {}
    if record:
        print(indent(_service_table(record, states), "  "))
    if ready:
        print(addresses(here, has_api="api" in states))
    servers = {name: state for name, state in states.items() if record and name not in record.tasks}
    return 0 if ready and AVAILABLE.issuperset(servers.values()) else 3


def _states(record: ProcessRecord) -> dict[str, str]:
    """The state of each service, also of one whose end the runner has not noticed yet."""
    return {
        name: State.ENDED if state == State.READY and not record.is_alive(name) else state
        for name, state in record.states.items()
    }


def _service_table(record: ProcessRecord, states: Mapping[str, str]) -> str:
    rows = []
    for name, state in sorted(states.items()):
        pid = record.pids.get(name) or record.tasks.get(name) or 0
        started = process_identity.unix_start_time(pid) if record.is_alive(name) else None
        running = (pid, describe_seconds(time.time() - started)) if started else ("-", "-")
        rows.append((name, state, *running, record.ends.get(name, 0)))
    head = ("service", "state", "pid", "uptime", "restarts")
    return text_table(rows, head, right=(2, 3, 4))
