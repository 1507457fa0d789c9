"""Runs the stack in the foreground: prepare, start, tell the addresses, stay."""

from collections.abc import Mapping

from stack import keeper, lock, parts, probes, secrets
from stack.installation import Installation
from stack.journal import Journal
from stack.runner import Runner
from vitals import files


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
        PortError: A port is taken.
        WeakSecretError: A secret that somebody put there is weak.
    """
    files.make_path(here.data)
    files.make_folder(here.log)
    held = lock.take(here.lock, what)
    here.ports.demand_free()
    secrets.make(here.secrets, None)
    journal = Journal(here.log)
    chosen = [
        *parts.databases(here),
        parts.api(here),
        parts.inbox(here),
        *parts.watching(here, parts.watching_secrets(here)),
        parts.boards(here),
    ]
    if amounts is not None:
        chosen += parts.sample(here, amounts)
    journal.say(f"starting {', '.join(part.name for part in chosen)}")
    watched_over = keeper.Keeper(held)
    runner = Runner(chosen, journal, watched_over)

    def announce() -> None:
        here.write_running(runner.pids)
        journal.plain(addresses(here))

    try:
        return runner.run(announce)
    finally:
        here.forget_running()
        watched_over.close()


def addresses(here: Installation) -> str:
    """Where everything is, as a table for people."""
    ports, host = here.ports, f"http://{probes.LOOPBACK}"
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
    """Show whether a stack runs over these data and where; 0 when it is ready, 3 when not."""
    if not lock.is_held(here.lock):
        print("not running; start it with: make demo, or make up")
        return 3
    here = here.as_running()
    pid, what = lock.holder(here.lock)
    pids = here.read_pids()
    print(f"{what} runs (pid {pid}){'' if pids else '; it is not ready yet'}")
    for name, part in sorted(pids.items()):
        print(f"  {name:<13} pid {part}")
    if pids:
        print(addresses(here))
    return 0 if pids else 3
