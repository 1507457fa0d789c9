"""Named blocks: of blocks of the event loop, how many are named by their line, and what it costs.

python -m bench.blocks              200 blocks on each loop, benign load beside busy processes,
                                    and the processor time of an idle service
python -m bench.blocks --blocks 20  fewer, in a minute
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench import budget
from vitals.metrics.catalogue import EVENT_LOOP_CAUSES, EVENT_LOOP_SITES

LOOPS = ("asyncio", "uvloop")
KINDS = ("sleep", "cpu", "regex", "driver", "http", "file", "lock", "hash", "json")
FUNCTIONS = {"hash": "hashed", "json": "decode"}
"""Functions of the target whose name is not that of their kind."""
BENIGN = ("compute", "wait", "thread", "list")
WAIT = 3.0
"""Seconds within which a block must be counted."""
_SERIES = re.compile(re.escape(EVENT_LOOP_SITES.name) + r'{site="(.*?)",http_route="(.*?)"} (\S+)')
TARGET = Path(__file__).with_name("target.py")
MEMORY = Path("/dev/shm")  # noqa: S108  # a disk that others use blocks too
_BURN = "while True: pass"


@dataclass
class Result:
    """What was found of some blocks.

    Attributes:
        blocks: How many there were.
        named: How many were named by their line.
        wrong: The sites that were named and did not block, with their kind.
        errors: The relative error of the seconds of each.
        missed: How many were not, by kind.
    """

    blocks: int = 0
    named: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    errors: list[float] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)


def lines() -> dict[str, set[int]]:
    """The lines of the target that block, by kind."""
    found: dict[str, set[int]] = {}
    for number, text in enumerate(TARGET.read_text().splitlines(), 1):
        if match := re.search(r"# blocks: (\w+)", text):
            found.setdefault(match[1], set()).add(number)
    return found


@contextmanager
def service(loop: str) -> Iterator[tuple[httpx.Client, int]]:
    """The target, with a client and its process id."""
    command = [sys.executable, "-m", "bench.blocks.target", "--loop", loop]
    scratch = tempfile.TemporaryDirectory(prefix="blocks-", dir=MEMORY if MEMORY.exists() else None)
    environment = os.environ | {"BLOCKS_SCRATCH": scratch.name}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603
    try:
        assert process.stdout is not None  # noqa: S101
        port = int(process.stdout.readline())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client, process.pid
    finally:
        process.terminate()
        process.wait(10)
        scratch.cleanup()


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Processes that take the processors."""
    burning = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(processes)]  # noqa: S603
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def sites(client: httpx.Client) -> dict[str, float]:
    """Seconds by site."""
    found: dict[str, float] = {}
    for site, _, value in _SERIES.findall(client.get("/metrics").text):
        found[site] = found.get(site, 0.0) + float(value)
    return found


def block(client: httpx.Client, kind: str, seconds: float, result: Result) -> None:
    """Block the loop once, and look which line is named."""
    before = sites(client)
    began = time.perf_counter()
    client.get(f"/{kind}", params={"seconds": seconds}).raise_for_status()
    took = time.perf_counter() - began
    deadline = time.monotonic() + WAIT
    gained: dict[str, float] = {}
    while time.monotonic() < deadline:
        gained = {
            site: value - before.get(site, 0.0)
            for site, value in sites(client).items()
            if value > before.get(site, 0.0)
        }
        if gained:
            break
        time.sleep(0.02)
    function = FUNCTIONS.get(kind, kind)
    right = {f"__main__:{function}:{number}" for number in lines()[kind]}
    named = {site: value for site, value in gained.items() if site not in EVENT_LOOP_CAUSES}
    good = {site: value for site, value in named.items() if site in right}
    result.blocks += 1
    if good:
        result.named += 1
        result.errors.append(abs(sum(good.values()) - took) / took)
    else:
        result.missed[
            f"{kind}: {max(gained, key=lambda each: gained[each], default='nothing')}"
        ] += 1
    for site in named.keys() - good.keys():
        result.wrong[f"{kind}: {site}"] += 1


def inject(loop: str, blocks: int, burners: int) -> Result:
    """Block a loop many times, each kind alike."""
    result = Result()
    with busy(burners), service(loop) as (client, _):
        for kind in KINDS:
            client.get(f"/{kind}")
        time.sleep(0.5)
        for number in range(blocks):
            block(client, KINDS[number % len(KINDS)], random.uniform(0.1, 0.3), result)
    return result


def load(loop: str, seconds: float, burners: int) -> Counter[str]:
    """Send benign requests, and return what was named."""
    with busy(burners), service(loop) as (client, _):
        ends = time.monotonic() + seconds

        def send(number: int) -> int:
            sent = 0
            while time.monotonic() < ends:
                client.get(f"/benign/{BENIGN[(number + sent) % len(BENIGN)]}")
                sent += 1
            return sent

        with ThreadPoolExecutor(16) as pool:
            sent = sum(pool.map(send, range(16)))
        found = sites(client)
    print(f"  {loop}: {sent} benign requests beside {burners} busy processes: {found}")
    return Counter([site for site in found if site not in EVENT_LOOP_CAUSES])


def idle_share(loop: str, seconds: float) -> float:
    """The share of a core that an idle service uses."""
    with service(loop) as (client, pid):
        client.get("/benign/wait")
        time.sleep(1)
        before = _cpu(pid)
        time.sleep(seconds)
        return (_cpu(pid) - before) / seconds


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Run it all; the exit code says whether the budget is met."""
    parser = argparse.ArgumentParser(prog="python -m bench.blocks", description=__doc__)
    parser.add_argument("--blocks", type=int, default=200, help="of each loop (default: 200)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of load and of idling")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    unnamed, wrong, idle = 0.0, 0, 0.0
    for loop in LOOPS:
        result = inject(loop, arguments.blocks, 0)
        stressed = inject(loop, max(9, arguments.blocks // 4), os.cpu_count() or 1)
        falsely = load(loop, arguments.seconds, os.cpu_count() or 1)
        share = idle_share(loop, arguments.seconds)
        unnamed = max(unnamed, 1 - result.named / result.blocks)
        wrong += sum(map(len, (result.wrong, stressed.wrong, falsely)))
        idle = max(idle, share)
        errors = sorted(result.errors) or [0.0]
        figures[loop] = {
            "blocks": result.blocks,
            "named": result.named,
            "missed": dict(result.missed),
            "wrong": dict(result.wrong),
            "error of seconds, median": round(errors[len(errors) // 2], 3),
            "named beside busy processes": f"{stressed.named} of {stressed.blocks}",
            "missed beside busy processes": dict(stressed.missed),
            "wrong beside busy processes": dict(stressed.wrong),
            "wrong under benign load": dict(falsely),
            "share of a core, idle": round(share, 4),
        }
        print(f"{loop}: {json.dumps(figures[loop], indent=2)}")
    ratios = {"unnamed": unnamed, "wrong names": float(wrong), "share of a core, idle": idle}
    if found := budget.exceeded(ratios, budget.of("blocks")):
        raise SystemExit("\n".join(found))


if __name__ == "__main__":
    main()
