"""Runs the stack in the foreground: prepare, start, tell the addresses, stay."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from stack import readiness, services
from stack.installation import secrets
from stack.installation.paths import Installation
from stack.installation.process_record import Record
from stack.process import lock, orphans, reaper
from stack.process.log_multiplexer import Journal
from stack.process.runner import Part, Runner
from stack.terminal import tell
from vitals import secure_files

WRITTEN = (
    *("postgres", "postgres.draft", "redis", "prometheus", "alertmanager", "secrets", "handout"),
    *("log", "site", "site.new", "copies", "drill", "suites", "running.json", "lock"),
)
"""All that the stack writes, among its data."""


def run(here: Installation, *, what: str, amounts: Mapping[str, int] | None = None) -> int:
    """Run it until somebody stops it or a part fails.

    Args:
        here: The installation.
        what: What we are, for whoever starts a second one.
        amounts: Sample data to make and play traffic over; `None` for neither.

    Returns:
        The exit code: 0 when asked to stop, 1 when a part failed.

    Raises:
        AlreadyRunningError: Another stack runs over the same data.
        OrphansError: What a stack that was killed left does not end.
        PortError: A port is taken.
        WeakSecretError: A secret that somebody put there is weak.
        OSError: A file that the stack needs cannot be read or written.
    """
    secure_files.make_directories(here.data)
    secure_files.make_directory(here.log)
    held = lock.take(here.lock, what)
    _end_orphans(here)
    here.ports.demand_free()
    secrets.make(here.secrets, None)
    journal = Journal(here.log)
    chosen = [
        *services.databases(here),
        services.api(here),
        services.inbox(here),
        *services.watching(here, services.watching_secrets(here)),
        services.boards(here),
    ]
    if amounts is not None:
        chosen += services.sample(here, amounts)
    chosen = [_marked(part, orphans.mark(here.data)) for part in chosen]
    record = Record(here.record, here.ports)
    journal.say(f"starting {', '.join(part.name for part in chosen)}")
    watched_over = reaper.Keeper(held)

    def note(part: Part, pid: int) -> None:
        record.add(part.name, pid, task=part.task)

    def announce() -> None:
        record.set_ready()
        journal.plain(addresses(here))

    try:
        return Runner(chosen, journal, watched_over, note).run(announce)
    finally:
        watched_over.close()
        record.close()


def clean(here: Installation) -> None:
    """Remove what the stack wrote into its data folder, and the folder if nothing else is in it.

    Raises:
        AlreadyRunningError: The stack runs.
        OrphansError: What a stack that was killed left does not end.
        OSError: Something cannot be removed.
    """
    if not here.data.exists():
        return
    os.close(lock.take(here.lock, "python -m stack clean"))
    _end_orphans(here)
    for name in WRITTEN:
        secure_files.remove_tree(here.data / name)
    with suppress(OSError):  # a link, or something of somebody else's is in it
        here.data.rmdir()


def _end_orphans(here: Installation) -> None:
    if left := orphans.find(here):
        tell("ending what a stack that was killed left:")
        tell("\n".join(f"  {orphan}" for orphan in left))
        orphans.end(left)


def _marked(part: Part, mark: str) -> Part:
    """The same part, whose processes can be known should we be killed."""
    env = {**part.program.env, orphans.VARIABLE: mark}
    return replace(part, program=replace(part.program, env=env))


def addresses(here: Installation) -> str:
    """Where everything is, as a table for people."""
    ports, host = here.ports, f"http://{readiness.LOOPBACK}"
    rows = [
        ("API", f"{host}:{ports.api}/docs"),
        ("its metrics", f"{host}:{ports.api}/metrics (token: {here.secrets}/metrics-token)"),
        ("boards", f"{host}:{ports.prometheus}/user/"),
        ("graphs", f"{host}:{ports.prometheus}/graph"),
        ("alerts", f"{host}:{ports.prometheus}/alerts"),
        ("silences", f"{host}:{ports.alertmanager}"),
        ("notifications", f"{host}:{ports.inbox}"),
        ("logins", f"admin@example.com and user1@example.com, passwords in {here.secrets}"),
        ("logs", f"{here.log}"),
    ]
    width = max(len(name) for name, _ in rows)
    table = "\n".join(f"  {name:<{width}}  {place}" for name, place in rows)
    return f"\nReady.\n{table}\n"


def status(here: Installation) -> int:
    """Show whether a stack runs over these data and where; 0 when it is ready, 3 when not.

    Raises:
        OSError: We may not know.
    """
    if not lock.is_held(here.lock):
        print("not running; start it with: make demo, or make up")
        if left := orphans.find(here):
            print("A stack that was killed left these, which the next start ends first:")
            print("\n".join(f"  {orphan}" for orphan in left))
        return 3
    here = here.as_running()
    pid, what = lock.holder(here.lock)
    running = here.read_running()
    if not lock.holder_lives(here.lock):
        print(f"{what} (pid {pid}) was killed; what it left is being ended")
        print("\n".join(f"  {orphan}" for orphan in orphans.find(here)))
        return 3
    ready = running is not None and running.ready
    print(f"{what} runs (pid {pid}){'' if ready else '; it is not ready yet'}")
    ended = [name for name in running.pids if not running.lives(name)] if running else []
    for name, part in sorted(running.pids.items()) if running else ():
        print(f"  {name:<13} pid {part}{' has ended' if name in ended else ''}")
    if ready:
        print(addresses(here))
    return 0 if ready and not ended else 3
