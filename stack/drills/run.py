"""Runs drills over a running stack: those of different lanes at once, those of one in turn."""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence

import httpx

from stack import monitoring_config, readiness
from stack.drills import table, target_faults
from stack.drills.drill import Drill, DrillError, Outcome, meanwhile
from stack.drills.environment import Ground, prepared
from stack.drills.fault import ALONE, Fault
from stack.drills.faults import FAULTS
from stack.drills.observer import Sight
from stack.installation.paths import Installation
from stack.process import lock

ALL = "all"


def run(here: Installation, names: Sequence[str]) -> int:
    """Run the drills named, or all; the exit code.

    Args:
        here: The installation, whose stack must be running.
        names: Names of faults, or ``all``, which also writes the table of docs/alerts.md.

    Raises:
        DrillError: No such drill, or no running stack.
    """
    if unknown := [name for name in names if name not in {ALL, *FAULTS}]:
        raise DrillError(f"no drill for {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    if not lock.is_held(here.lock) or not here.read_pids():
        raise DrillError("the stack is not running: start it with make demo, in another terminal")
    chosen = FAULTS if ALL in names else {name: FAULTS[name] for name in names}
    try:
        outcomes, failures = asyncio.run(_run(here.as_running(), chosen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("broken off; everything is as before")
        return 130
    print(f"\n{table.as_text(outcomes)}")
    for name, failure in failures.items():
        print(f"{name}: {failure}")
    if ALL in names and not failures:
        table.write(outcomes)
    return 1 if failures else 0


async def _run(
    here: Installation, chosen: Mapping[str, Fault]
) -> tuple[list[Outcome], dict[str, str]]:
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("a watch of its own runs the same rules many times faster and tells only the inbox")
    needed = dict.fromkeys(each for fault in chosen.values() for each in fault.patients)
    async with prepared(here, needed) as ground:
        sight = Sight(ground.aside.ports, ground.client)
        for job, instances in target_faults.JOBS.items():
            if any(fault.job == job for fault in chosen.values()):
                ground.announce(job, *(patient.job for patient in instances))
        try:
            async with meanwhile(sight.keep_looking()):
                return await _run_lanes(chosen, ground, sight)
        finally:
            await _end_heartbeat(ground)


async def _run_lanes(
    chosen: Mapping[str, Fault], ground: Ground, sight: Sight
) -> tuple[list[Outcome], dict[str, str]]:
    lanes: dict[str, list[str]] = {}
    for name, fault in chosen.items():
        lanes.setdefault(fault.lane or name, []).append(name)
    last = lanes.pop(ALONE, [])
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    width = max(map(len, chosen))
    began = time.monotonic()

    async def run_lane(names: Sequence[str]) -> None:
        for name in names:

            def tell(text: str, seconds: float, name: str = name) -> None:
                print(
                    f"{time.monotonic() - began:6.1f} s  {name:<{width}}  +{seconds:5.1f} s  "
                    f"{text}",
                    flush=True,
                )

            try:
                drill = Drill(name, chosen[name], ground, sight, tell)
                outcomes[name] = await drill.run()
            except (DrillError, httpx.HTTPError, OSError) as error:
                failures[name] = str(error) or repr(error)
                tell(f"FAILED: {failures[name]}", 0.0)

    await asyncio.gather(*(run_lane(names) for names in lanes.values()))
    await run_lane(last)
    return [outcomes[name] for name in chosen if name in outcomes], failures


async def _end_heartbeat(ground: Ground) -> None:
    """The inbox must not miss the watch that we end."""
    inbox = f"http://{readiness.LOOPBACK}:{ground.aside.ports.inbox}"
    await ground.client.delete(inbox + monitoring_config.HASTY_HEARTBEAT.partition("?")[0])
