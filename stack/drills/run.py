"""Runs drills on a running stack: different lanes concurrently, one lane sequentially."""

import asyncio
import signal
import time
from collections.abc import Mapping, Sequence

import httpx

from stack import monitoring_config, readiness
from stack.drills import results_table, target_faults
from stack.drills.drill import Drill, DrillError, DrillResult, background
from stack.drills.environment import Environment, prepare
from stack.drills.fault import EXCLUSIVE, Fault
from stack.drills.faults import FAULTS
from stack.drills.observer import Observer
from stack.installation.paths import Installation
from stack.process import lock

ALL = "all"


def run(here: Installation, names: Sequence[str]) -> int:
    """Run the named drills, or all; returns the exit code.

    Args:
        here: The installation, whose stack must be running.
        names: Names of faults, or ``all``, which writes the whole table of docs/alerts.md; one
            drill adds the row that the table lacks.

    Raises:
        DrillError: There is no such drill, or the stack is not running.
    """
    if unknown := [name for name in names if name not in {ALL, *FAULTS}]:
        raise DrillError(f"no drill for {', '.join(unknown)}: choose from {', '.join(FAULTS)}")
    if not lock.is_held(here.lock) or not here.read_pids():
        raise DrillError("the stack is not running: start it with make demo in another terminal")
    chosen: Mapping[str, Fault] = FAULTS if ALL in names else {name: FAULTS[name] for name in names}
    if here.pair:
        chosen = _survived_by_a_pair(chosen)
    try:
        outcomes, failures = asyncio.run(_run(here.with_recorded_ports(), chosen))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted, all faults reverted")
        return 130
    print(f"\n{results_table.as_text(outcomes)}")
    for name, failure in failures.items():
        print(f"{name}: {failure}")
    if not failures and not here.pair:
        results_table.write(outcomes, only_new=ALL not in names)
    return 1 if failures else 0


def _survived_by_a_pair(chosen: Mapping[str, Fault]) -> Mapping[str, Fault]:
    """The faults whose alert a pair brings while one of each is killed.

    Raises:
        DrillError: There are none.
    """
    kept = {name: fault for name, fault in chosen.items() if fault.lane != EXCLUSIVE}
    if left_out := sorted({*chosen} - {*kept}):
        print(f"without {', '.join(left_out)}: of a pair, the other Alertmanager notifies")
    if not kept:
        raise DrillError("nothing to drill with HA=1: choose a fault of a service")
    return kept


async def _run(
    here: Installation, chosen: Mapping[str, Fault]
) -> tuple[list[DrillResult], dict[str, str]]:
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    print("starting a separate Prometheus and Alertmanager, with faster rules, for the inbox only")
    needed = dict.fromkeys(each for fault in chosen.values() for each in fault.targets)
    async with prepare(here, needed) as environment:
        observer = Observer(environment.drill.ports, environment.client)
        for job, instances in target_faults.JOBS.items():
            if any(fault.job == job for fault in chosen.values()):
                environment.add_job(job, *(target.job for target in instances))
        try:
            async with background(observer.poll()):
                return await _run_lanes(chosen, environment, observer)
        finally:
            await _end_heartbeat(environment)


async def _run_lanes(
    chosen: Mapping[str, Fault], environment: Environment, observer: Observer
) -> tuple[list[DrillResult], dict[str, str]]:
    lanes: dict[str, list[str]] = {}
    for name, fault in chosen.items():
        # Of a pair, each kills one: one after another.
        lane = "pair" if environment.drill.pair else fault.lane or name
        lanes.setdefault(lane, []).append(name)
    last = lanes.pop(EXCLUSIVE, [])
    outcomes: dict[str, DrillResult] = {}
    failures: dict[str, str] = {}
    width = max(map(len, chosen))
    began = time.monotonic()

    async def run_lane(names: Sequence[str]) -> None:
        for name in names:

            def print_event(text: str, seconds: float, name: str = name) -> None:
                print(
                    f"{time.monotonic() - began:6.1f} s  {name:<{width}}  +{seconds:5.1f} s  "
                    f"{text}",
                    flush=True,
                )

            try:
                drill = Drill(name, chosen[name], environment, observer, print_event)
                outcomes[name] = await drill.run()
            except (DrillError, httpx.HTTPError, OSError) as error:
                failures[name] = str(error) or repr(error)
                print_event(f"FAILED: {failures[name]}", 0.0)

    await asyncio.gather(*(run_lane(names) for names in lanes.values()))
    await run_lane(last)
    return [outcomes[name] for name in chosen if name in outcomes], failures


async def _end_heartbeat(environment: Environment) -> None:
    """Stop the inbox from expecting the heartbeat of the monitoring that ends here."""
    inbox = f"http://{readiness.LOOPBACK}:{environment.drill.ports.inbox}"
    await environment.client.delete(inbox + monitoring_config.FAST_HEARTBEAT.partition("?")[0])
