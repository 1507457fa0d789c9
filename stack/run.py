"""Runs the stack in the foreground: prepares, starts, prints the addresses, and waits."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from textwrap import indent

from stack import command_line, readiness, services
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.process_record import RecordWriter
from stack.process import lock, orphans, reaper
from stack.process.log_multiplexer import LogMultiplexer
from stack.process.runner import Runner, Service
from stack.terminal import print_line
from stack.text_table import text_table
from vitals import secure_files

WRITTEN = (
    *("postgres", "postgres.draft", "redis", "prometheus", "alertmanager", "secrets", "handout"),
    *("log", "bin", "site", "site.new", "copies", "drill", "suites", "matrix"),
    *("running.json", "lock"),
)
"""Names of everything that the stack writes to its data folder."""


def run(here: Installation, *, command: str, amounts: Mapping[str, int] | None = None) -> int:
    """Run the stack until it is stopped or a service fails.

    Args:
        here: The installation.
        command: The command that runs, for the error message of a second start.
        amounts: Sizes of the sample data, which also get traffic; `None` for neither.

    Returns:
        The exit code: 0 after a stop signal, 1 after a service failed.

    Raises:
        AlreadyRunningError: Another stack runs in the same data folder.
        OrphansError: Processes of a killed stack do not end.
        PortError: A port is taken.
        WeakSecretError: A provided secret is weak.
        OSError: A file of the stack cannot be read or written.
    """
    secure_files.make_directories(here.data)
    secure_files.make_directory(here.log)
    held = lock.acquire(here.lock, command)
    _end_orphans(here)
    here.ports.check_free()
    secrets.make(here.secrets, None)
    command_line.write(here)
    logs = LogMultiplexer(here.log)
    chosen = [
        *services.databases(here),
        services.api(here),
        services.inbox(here),
        *services.monitoring(here, services.prometheus_secrets(here)),
        services.boards(here),
    ]
    if amounts is not None:
        chosen += services.sample_data(here, amounts)
    chosen = [_with_marker(service, orphans.marker(here.data)) for service in chosen]
    record = RecordWriter(here.record_path, here.ports)
    logs.log(f"starting {', '.join(service.name for service in chosen)}")
    reaper_process = reaper.Reaper(held)

    def add_to_record(service: Service, pid: int) -> None:
        record.add(service.name, pid, task=service.task)

    def announce() -> None:
        record.set_ready()
        logs.show(addresses(here))

    try:
        return Runner(chosen, logs, reaper_process, add_to_record).run(announce)
    finally:
        reaper_process.close()
        record.close()


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


def addresses(here: Installation) -> str:
    """A table of the addresses of the stack."""
    ports, host = here.ports, f"http://{readiness.LOOPBACK}"
    rows = [
        ("API", f"{host}:{ports.api}/docs"),
        ("metrics", f"{host}:{ports.api}/metrics (token: {here.secrets}/metrics-token)"),
        ("boards", f"{host}:{ports.prometheus}/user/"),
        ("graphs", f"{host}:{ports.prometheus}/graph"),
        ("alerts", f"{host}:{ports.prometheus}/alerts"),
        ("silences", f"{host}:{ports.alertmanager}"),
        ("notifications", f"{host}:{ports.inbox}"),
        ("logins", f"admin@example.com and user1@example.com, passwords in {here.secrets}"),
        ("logs", f"{here.log}"),
    ]
    commands = indent(command_line.examples(here), "  ")
    return f"\nReady.\n{indent(text_table(rows), '  ')}\n\n  On the command line:\n{commands}\n"


def status(here: Installation) -> int:
    """Print whether a stack runs in this data folder, and its addresses; 0 when ready, else 3.

    Raises:
        OSError: The lock or the process record cannot be read.
    """
    if not lock.is_held(here.lock):
        print("not running: start it with make demo or make up")
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
    ended = [name for name in record.pids if not record.is_alive(name)] if record else []
    if record:
        rows = [
            (name, f"pid {service_pid}{' (ended)' if name in ended else ''}")
            for name, service_pid in sorted(record.pids.items())
        ]
        print(indent(text_table(rows), "  "))
    if ready:
        print(addresses(here))
    return 0 if ready and not ended else 3
