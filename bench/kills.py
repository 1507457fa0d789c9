"""``kill -9`` of each part of a running stack at random: ``python -m bench.kills``.

It starts the demo on free ports with two workers, kills one part after another, and follows each
until its notification is in the inbox and it is ready again. At the end every service must have
ended as often as it was killed: nothing else stopped. By default the rules run as fast as in a
drill; with ``--production`` a kill is notified within 150 seconds, and 50 kills take half an hour.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from stack.installation.ports import Ports
from stack.readiness import LOOPBACK, free_port
from stack.text_table import text_table

ROOT = Path(__file__).parents[1]
WORKER, REAPER = "worker", "reaper"
WORKERS = 2
READY_SECONDS = 150.0
POLL_SECONDS = 0.5


@dataclass
class Kill:
    """One kill, and what came of it.

    Attributes:
        at: Unix time of the kill.
        notified: Seconds until its notification arrived.
        ready: Seconds until the part was ready again.
    """

    part: str
    at: float
    notified: float | None = None
    ready: float | None = None


class Stack:
    """A running demo."""

    def __init__(self, folder: Path, *, fast: bool) -> None:
        self.data = folder / "data"
        self.output = folder / "output"
        self.ports = {each.name: free_port() for each in fields(Ports)}
        flags = ["--fast"] if fast else []
        amounts = ["--users=200", "--products=100", "--orders=2000"]
        with self.output.open("wb") as output:
            self.runner = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "stack", "demo", *amounts, *flags],
                cwd=ROOT,
                env={
                    **{key: text for key, text in os.environ.items() if key[:6] != "ALERT_"},
                    **{f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
                    "VITALS_DATA": str(self.data),
                    "WORKERS": str(WORKERS),
                },
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def record(self) -> dict[str, Any]:
        """The process record; empty before there is one."""
        with suppress(OSError, ValueError):
            content: dict[str, Any] = json.loads((self.data / "running.json").read_text())
            return content
        return {}

    @property
    def parts(self) -> list[str]:
        """Everything that can be killed: the services, a worker of the API, the reaper."""
        return [*sorted(self.record["pids"]), WORKER, REAPER]

    def pid(self, part: str) -> int:
        """The process of a part: of one of several workers, its first."""
        if part == REAPER:
            return _children(self.runner.pid, b"reaper.py")[0]
        pids = self.record["pids"]
        return _children(pids["api"], b"spawn_main")[0] if part == WORKER else int(pids[part])

    def is_ready(self, part: str, killed: int) -> bool:
        """Whether another process than the killed one serves."""
        if part == REAPER:
            return killed not in (found := _children(self.runner.pid, b"reaper.py")) and bool(found)
        if part == WORKER:
            workers = _children(self.record["pids"]["api"], b"spawn_main")
            return killed not in workers and len(workers) == WORKERS
        record = self.record
        return bool(record["states"][part] == "ready" and record["pids"][part] != killed)

    async def get(self, client: httpx.AsyncClient, part: str, path: str) -> Any:
        """A JSON response; None where there is none."""
        try:
            response = await client.get(f"http://{LOOPBACK}:{self.ports[part]}{path}")
            return response.raise_for_status().json()
        except (httpx.HTTPError, ValueError):
            return None

    def stop(self) -> int:
        """Stop it as with Ctrl-C; returns the exit code."""
        self.runner.send_signal(signal.SIGINT)
        return self.runner.wait(120)


def _children(parent: int, command: bytes) -> list[int]:
    found = []
    for file in Path("/proc", str(parent), "task").glob("*/children"):
        with suppress(OSError):
            found += [int(pid) for pid in file.read_text().split()]
    return [pid for pid in found if command in _command(pid)]


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:  # ended meanwhile
        return b""


class Inbox:
    """What the inbox ever showed: it may itself be killed and forget."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient) -> None:
        self._stack = stack
        self._client = client
        self.seen: dict[str, dict[str, Any]] = {}
        self.active: set[str] = set()

    async def poll(self) -> None:
        """Poll the inbox and Prometheus until cancelled."""
        while True:
            found = await self._stack.get(self._client, "inbox", "/")
            for note in (found or {}).get("notifications", []):
                key = json.dumps([note[name] for name in ("alert", "starts", "status", "labels")])
                self.seen.setdefault(key, note)
            alerts = await self._stack.get(self._client, "prometheus", "/api/v1/alerts")
            if alerts:
                self.active = {part for each in alerts["data"]["alerts"] if (part := _part(each))}
            await asyncio.sleep(POLL_SECONDS)

    def unresolved(self, seconds: float) -> set[str]:
        """Parts whose last notification, if not older than this, says that they ended."""
        last: dict[str, tuple[str, str]] = {}
        for note in self.seen.values():
            part = _part(note)
            last[part] = max(last.get(part, ("", "")), (note["received"], note["status"]))
        return {
            part
            for part, (received, status) in last.items()
            if status == "firing"
            and time.time() - datetime.fromisoformat(received).timestamp() < seconds
        }

    def tells(self, kill: Kill) -> bool:
        """Whether a page of this kill has arrived."""
        return any(
            _part(note) == kill.part
            and (note["status"], note["severity"]) == ("firing", "page")
            and datetime.fromisoformat(note["starts"]).timestamp() >= kill.at
            for note in self.seen.values()
        )


def _part(alert: dict[str, Any]) -> str:
    """The part that an alert is about; empty if it is about something else."""
    labels: dict[str, str] = alert["labels"]
    if labels["alertname"] == "WorkerCrashed":
        return WORKER
    return labels["service"] if labels["alertname"] == "ServiceEnded" else ""


async def _follow(kill: Kill, pid: int, stack: Stack, inbox: Inbox, seconds: float) -> None:
    """Wait until a kill is notified and its part ready, or it takes too long."""
    conditions: dict[str, Callable[[], bool]] = {
        "notified": lambda: inbox.tells(kill),
        "ready": lambda: stack.is_ready(kill.part, pid),
    }
    while conditions and time.time() - kill.at < max(seconds, READY_SECONDS):
        for name, condition in tuple(conditions.items()):
            with suppress(KeyError, IndexError):  # between two processes
                if condition():
                    setattr(kill, name, time.time() - kill.at)
                    del conditions[name]
        await asyncio.sleep(POLL_SECONDS / 5)
    times = ", ".join(
        f"{name} after {seconds:.1f} s" if (seconds := getattr(kill, name)) else f"NOT {name}"
        for name in ("notified", "ready")
    )
    print(f"{kill.part:<13} {times}", flush=True)


async def _run(stack: Stack, count: int, every: float, within: float, seed: int) -> list[Kill]:
    rng, kills, following = random.Random(seed), list[Kill](), dict[str, asyncio.Task[None]]()
    parts = stack.parts
    async with (
        httpx.AsyncClient(timeout=5, trust_env=False) as client,
        _polling(Inbox(stack, client)) as inbox,
    ):
        while len(kills) < count:
            await asyncio.sleep(every)
            counts = Counter(kill.part for kill in kills)
            # There is no second notification of what fires until there was one of its end.
            idle = [
                part
                for part in parts
                if part not in inbox.active | inbox.unresolved(3 * within)
                and (part not in following or following[part].done())
            ]
            idle = [part for part in idle if counts[part] < -(-count // len(parts))]
            if WORKER in idle and "api" in following and not following["api"].done():
                idle.remove(WORKER)
            if not idle:
                continue
            part = rng.choice(idle)
            pid = stack.pid(part)
            kill = Kill(part, time.time())
            os.kill(pid, signal.SIGKILL)
            kills.append(kill)
            following[part] = asyncio.create_task(_follow(kill, pid, stack, inbox, within))
            if stack.runner.poll() is not None:
                raise RuntimeError(stack.output.read_text())
        await asyncio.gather(*following.values())
    return kills


@asynccontextmanager
async def _polling(inbox: Inbox) -> AsyncIterator[Inbox]:
    task = asyncio.create_task(inbox.poll())
    try:
        yield inbox
    finally:
        task.cancel()


def _report(kills: list[Kill], ends: dict[str, int], within: float) -> list[str]:
    """Print the table; returns what did not hold."""
    rows, failures = [], []
    for part in sorted({kill.part for kill in kills} | ends.keys()):
        of_part = [kill for kill in kills if kill.part == part]
        notified = [
            kill.notified
            for kill in of_part
            if kill.notified is not None and kill.notified <= within
        ]
        ready = [kill.ready for kill in of_part if kill.ready is not None]
        slowest = [f"{max(times):.1f}" if times else "-" for times in (notified, ready)]
        ended = "-" if part in {WORKER, REAPER} else ends.get(part, 0)
        rows.append((part, len(of_part), len(notified), slowest[0], len(ready), slowest[1], ended))
        if not len(notified) == len(ready) == len(of_part):
            failures.append(f"{part}: not always notified or ready again")
        if ended not in {"-", len(of_part)}:
            failures.append(f"{part}: killed {len(of_part)} times, ended {ended} times")
    head = ("part", "killed", "notified", "at most, s", "ready", "at most, s", "ended")
    print(f"\n{text_table(rows, head, right=range(1, 7))}\n")
    return failures


def main() -> None:
    """Run it; the exit code says whether all of it held."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--production", action="store_true", help="at production intervals")
    parser.add_argument("--seed", type=int, default=random.randrange(1000))
    options = parser.parse_args()
    every, within = (20.0, 150.0) if options.production else (4.0, 30.0)
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        Path(folder).chmod(0o755)  # for servers of every user
        stack = Stack(Path(folder), fast=not options.production)
        try:
            while not stack.record.get("ready"):
                if stack.runner.poll() is not None:
                    raise SystemExit(stack.output.read_text())
                time.sleep(0.5)
            print(f"ready; seed {options.seed}", flush=True)
            time.sleep(60 if options.production else 10)  # some scrapes before the first kill
            kills = asyncio.run(_run(stack, options.count, every, within, options.seed))
            failures = _report(kills, stack.record["ends"], within)
        finally:
            code = stack.stop()
    if code:
        failures.append(f"the runner ended with code {code}")
    print("\n".join(failures) or f"held for {options.count} kills")
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
