"""Game day: injects faults as production breaks into a stack of its own, and times its alerts.

``python -m bench.gameday --fault 3``, or without an option all that are here. Rules and intervals
are those of production. The table says what was told, when, and which figures of the boards
differed from their witness (psql, redis-cli). Faults of parts get a stack each; those that a
release brings (6 to 10) share one, each in a service of its own. It takes two hours in all.
"""

import argparse
import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.gameday.faults import FAULTS
from bench.gameday.releases import RELEASES, Release
from bench.gameday.stack import Stack
from stack.drills.drill import background
from stack.drills.environment import Environment, prepare
from stack.drills.fault import TargetService
from stack.drills.load import LoadGenerator
from stack.text_table import text_table

WARM_SECONDS = 420
"""To have five minutes of data before releases."""
LIMITS = {"page": 180, "ticket": 720}
"""Seconds within which a fault must be told, by severity."""
AFTER_SECONDS = 240
"""For which messages are collected after the first one: what follows must be explained by it."""
HEADER = ("fault", "", "told after", "messages", "boards", "witness")

Row = tuple[str, ...]
Message = dict[str, Any]


@contextmanager
def _started(orders: int | None, disk: str = "") -> Iterator[Stack]:
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="vitals-gameday-")))
        folder.chmod(0o755)
        data = folder / "data"
        if disk:
            data.mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", f"size={disk},mode=755", "tmpfs", str(data)]
            subprocess.run(mount, check=True)  # noqa: S603
            opened.callback(subprocess.run, ["umount", "--lazy", str(data)], check=True)
        stack = Stack(data, orders)
        opened.callback(stack.close)
        stack.wait_ready()
        yield stack


def _told(first: Message | None, after: float, limit: int | None = None) -> str:
    """When, or that it was too late."""
    if not first:
        return "not told"
    late = after > (limit or LIMITS.get(first["severity"], 0))
    return f"{after:.0f} s{' (late)' if late else ''}"


def _text(message: Message) -> str:
    lines = [f"{message['severity']} {message['alert']}: {message['summary']}", message["cause"]]
    return " | ".join(line for line in lines if line)


def run_fault(number: int, *, orders: int, seconds: int) -> Row:
    """Inject one fault into a part of a stack; returns a row of the table."""
    fault = FAULTS[number]
    with ExitStack() as opened:
        stack = opened.enter_context(_started(max(orders, fault.orders), fault.disk))
        print(f"{number} {fault.title}: {fault.warm} s of traffic before it", flush=True)
        time.sleep(fault.warm)
        before = {each["starts"] + each["alert"] for each in stack.told()}
        opened.enter_context(fault.inject(stack))
        began, end = time.monotonic(), time.monotonic() + seconds
        told: dict[str, tuple[float, Message]] = {}
        is_told = False
        while time.monotonic() < end:
            time.sleep(1)
            for each in reversed(stack.told()):
                key = each["starts"] + each["alert"]
                if key in before or key in told:
                    continue
                told[key] = time.monotonic() - began, each
                _print_message(number, *told[key])
                if each["alert"] in fault.alerts and not is_told:
                    is_told = True
                    end = min(end, time.monotonic() + AFTER_SECONDS)
        shown = "; ".join(f"{title}: {stack.figure(board, title)}" for board, title in fault.shown)
        witness = fault.witness(stack)
    right = [(after, each) for after, each in told.values() if each["alert"] in fault.alerts]
    after, first = right[0] if right else (0, None)
    text = "; ".join(_text(each) for _, each in told.values())
    return str(number), fault.title, _told(first, after), text, shown, witness


def _print_message(number: int, spent: float, message: Message) -> None:
    """A message as it arrives, with all that it begins with."""
    print(f"{spent:6.0f} s  {number} {_text(message)}", flush=True)
    more = {"description": message["description"], **message["annotations"], **message["links"]}
    for name, text in more.items():
        print(f"{'':10}{name}: {text}", flush=True)


async def _run_releases(stack: Stack, numbers: Sequence[int], seconds: int) -> list[Row]:
    chosen = {number: RELEASES[number] for number in numbers}
    targets = [TargetService(each.job) for each in chosen.values()]
    async with (
        prepare(stack.here.with_recorded_ports(), targets, fast=False) as environment,
        AsyncExitStack() as opened,
    ):
        loads = {}
        for number, release in chosen.items():
            loads[number] = LoadGenerator(release.load(), environment.base(release.job))
            await opened.enter_async_context(background(loads[number].run()))
        print(f"releases {numbers}: {WARM_SECONDS} s of traffic before them", flush=True)
        await asyncio.sleep(WARM_SECONDS)
        for number, release in chosen.items():
            await _begin(release, loads[number], environment)
        return await _watch(stack, chosen, seconds)


async def _begin(release: Release, load: LoadGenerator, environment: Environment) -> None:
    load.use_fault_load()
    if release.defect:
        address = f"{environment.base(release.job)}/defects/{release.defect}"
        (await environment.client.post(address)).raise_for_status()


async def _watch(stack: Stack, chosen: dict[int, Release], seconds: int) -> list[Row]:
    """Collect the notifications of each release, until the time is over."""
    began = time.monotonic()
    after: dict[int, float] = {}
    messages: dict[int, dict[str, Message]] = {number: {} for number in chosen}
    while time.monotonic() < began + seconds:
        await asyncio.sleep(1)
        for told in reversed(await asyncio.to_thread(stack.told)):
            for number, release in chosen.items():
                if told["labels"].get("job") == release.job:
                    after.setdefault(number, time.monotonic() - began)
                    if told["alert"] not in messages[number]:
                        messages[number][told["alert"]] = told
                        _print_message(number, time.monotonic() - began, told)
    rows: list[Row] = []
    for number, release in chosen.items():
        told_now = list(messages[number].values())
        first = told_now[0] if told_now else None
        text = "; ".join(map(_text, told_now))
        when = _told(first, after.get(number, 0), release.limit)
        rows.append((str(number), release.title, when, text, "", ""))
    return rows


def main() -> None:
    """Run faults one after the other, releases together, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.gameday", description=__doc__)
    numbers = sorted([*FAULTS, *RELEASES])
    parser.add_argument("--fault", type=int, choices=numbers, action="append", help="this one")
    parser.add_argument("--orders", type=int, default=20000, help="of the sample data")
    parser.add_argument("--seconds", type=int, default=900, help="longest wait for a message")
    options = parser.parse_args()
    wanted = options.fault or numbers
    rows = [
        run_fault(number, orders=options.orders, seconds=options.seconds)
        for number in wanted
        if number in FAULTS
    ]
    if releases := [number for number in wanted if number in RELEASES]:
        with _started(None) as stack:
            rows += asyncio.run(_run_releases(stack, releases, options.seconds))
    print(text_table([HEADER, *sorted(rows, key=lambda row: int(row[0]))]))


if __name__ == "__main__":
    main()
