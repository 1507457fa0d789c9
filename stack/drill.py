"""Breaks something on purpose in a running stack and follows its alert to the inbox."""

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import replace

import httpx

from stack import lock, parts, probes
from stack.faults import FAULTS, Fault
from stack.installation import Installation
from stack.processes import Process
from stack.watched import Watched

_LOAD_PER_SECOND = 40
_MARGIN_SECONDS = {"haste": 90.0, "calm": 1200.0}


class DrillError(RuntimeError):
    """The drill cannot run, or the alert did not behave."""


class _Clock:
    """Tells what happens, with the seconds since the fault."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"  +{time.monotonic() - self._began:5.1f} s  {text}", flush=True)


def run(here: Installation, alert: str, *, as_written: bool) -> int:
    """Run the drill of an alert; the exit code.

    Args:
        here: The installation, whose stack must be running.
        alert: Name of the alert.
        as_written: Wait as long as the rules really do, instead of running them faster.

    Raises:
        DrillError: No such drill, no running stack, or the alert did not behave.
    """
    if alert not in FAULTS:
        raise DrillError(f"no drill for {alert!r}; there are: {', '.join(FAULTS)}")
    if not lock.is_held(here.lock) or not here.read_pids():
        raise DrillError("the stack is not running: start it with make demo, in another terminal")
    try:
        asyncio.run(_drill(here.as_running(), alert, haste=not as_written))
    except httpx.HTTPError as error:
        raise DrillError(f"the stack does not answer: {error!r}; is it still running?") from error
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("  broken off; everything is as before")
        return 130
    return 0


async def _drill(here: Installation, alert: str, *, haste: bool) -> None:
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with _hasty_watch(here) if haste else nullcontext(here) as watching:
        async with httpx.AsyncClient(timeout=10) as client:
            watched = Watched(alert, watching.ports, client)
            if await watched.state() == "firing":
                raise DrillError(f"{alert} is firing already: mend that first")
            patience = await watched.patience()
            seconds = patience + _MARGIN_SECONDS["haste" if haste else "calm"]
            print(f"{alert} waits {patience:.0f} s by its rule; this takes at most {seconds:.0f} s")
            await _follow(here, FAULTS[alert], watched, seconds)


@contextmanager
def _hasty_watch(here: Installation) -> Iterator[Installation]:
    """A second Prometheus and Alertmanager over the same API, with fast rules and no past."""
    print("a watch of its own runs the same rules many times faster and tells only the inbox")
    folder = here.data / "drill"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    ports = replace(here.ports, prometheus=probes.free_port(), alertmanager=probes.free_port())
    aside = replace(here, data=folder, ports=ports)
    with ExitStack() as started:
        started.callback(shutil.rmtree, folder)
        for part in parts.watching(aside, secrets=here.secrets, haste=True):
            process = Process(part.program, log=folder / f"{part.name}.log")
            started.callback(process.stop)
            process.start()
            process.wait_ready(part.ready)
        yield aside


async def _follow(here: Installation, fault: Fault, watched: Watched, seconds: float) -> None:
    """Inject, wait for the notification, mend, wait for the all-clear."""
    known = {note["starts"] for note in await watched.notifications("firing")}
    clock = _Clock()

    async def arrived(status: str, *, which: Callable[[str], bool]) -> str:
        for note in await watched.notifications(status):
            if which(note["starts"]):
                clock.tell(f"inbox: {status.upper()} {note['severity']}: {note['summary']}")
                return note["starts"]
        return ""

    async with _meanwhile(_load(here, fault.load()), _tell_states(watched, clock)):
        clock.tell(f"fault: {fault.what}")
        async with _meanwhile(fault.inject(here)):
            started = await _wait(
                lambda: arrived("firing", which=lambda starts: starts not in known),
                seconds,
                watched,
            )
        clock.tell("fault ended")
        await _wait(lambda: arrived("resolved", which=started.__eq__), seconds, watched)


async def _wait(condition: Callable[[], Awaitable[str]], seconds: float, watched: Watched) -> str:
    """Ask until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        if time.monotonic() > deadline:
            holders = ", ".join(sorted(await watched.held_back_by()))
            held = f", and {holders} holds it back: wait until that is over" if holders else ""
            state = await watched.state()
            raise DrillError(f"nothing within {seconds:.0f} s; {watched.alert} is {state}{held}")
        await asyncio.sleep(0.25)
    return found


async def _tell_states(watched: Watched, clock: _Clock) -> None:
    known = "inactive"
    while True:
        state = await watched.state()
        if state != known:
            clock.tell(f"Prometheus: {state}")
            known = state
        await asyncio.sleep(0.25)


async def _load(here: Installation, paths: Iterator[str]) -> None:
    """Ask the API for paths at a steady rate, however slow its answers are."""
    base = f"http://{probes.LOOPBACK}:{here.ports.api}"
    asked: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(base_url=base, timeout=5) as client:
        try:
            for path in paths:
                task = asyncio.create_task(_ask(client, path))
                asked.add(task)
                task.add_done_callback(asked.discard)
                await asyncio.sleep(1 / _LOAD_PER_SECOND)
        finally:
            for task in asked:
                task.cancel()


async def _ask(client: httpx.AsyncClient, path: str) -> None:
    with suppress(httpx.HTTPError):  # to fail is what a drill is for
        await client.get(path)


@asynccontextmanager
async def _meanwhile(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do something else at the same time; it ends, and cleans up, with the block."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
