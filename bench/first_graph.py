"""From ``pip install`` to a first graph: the README's steps as they stand, in an empty environment.

``python -m bench.first_graph`` builds the distributions, runs the steps in a network namespace,
whose ports are free, and opens the board in Chromium. Needs root, Prometheus and Alertmanager.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench import budget
from stack.installation.paths import CHECKOUT

_SPACE = "vitals-first-graph"
_README = (CHECKOUT / "README.md").read_text("utf-8")
_SECONDS = 240.0


def steps() -> list[str]:
    """The commands of the README, one a line.

    Raises:
        LookupError: The README has no such block.
    """
    for block in re.findall(r"^```sh\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL):
        if "vitals-kit[watch]" in block:
            return [line.partition("  #")[0].strip() for line in block.splitlines()]
    raise LookupError("README.md has no steps with vitals-kit[watch]")


def service() -> str:
    """The README's service.

    Raises:
        LookupError: There is none.
    """
    if found := re.search(r"^```python\n(.*?)^```$", _README, re.MULTILINE | re.DOTALL):
        return found[1]
    raise LookupError("README.md has no service")


@contextmanager
def network() -> Iterator[None]:
    """A network namespace with a loopback of its own."""
    try:
        subprocess.run(["ip", "netns", "add", _SPACE], check=True)
        subprocess.run(["ip", "-n", _SPACE, "link", "set", "lo", "up"], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", _SPACE], check=False)


def inside(command: str) -> list[str]:
    """The command line of a shell in that network."""
    return ["ip", "netns", "exec", _SPACE, "bash", "-c", command]


def until(succeeds: Callable[[], bool]) -> None:
    """Try again each second, as a person does.

    Raises:
        TimeoutError: It never succeeds.
    """
    end = time.monotonic() + _SECONDS
    while not succeeds():
        if time.monotonic() > end:
            raise TimeoutError("a step did not succeed")
        time.sleep(1)


def take(folder: Path, wheels: Path, report: Callable[[str], None]) -> None:
    """Take the steps, and open the board."""
    install, serve, watch, request, open_page = steps()
    (folder / "shop.py").write_text(service())
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    environment = {
        "PATH": f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_FIND_LINKS": str(wheels),  # they are not on PyPI yet
        "HOME": str(Path.home()),  # of pip's cache: the machine is warm
        "VITALS_DATA": str(folder / "data"),
    }
    subprocess.run(["bash", "-c", install], cwd=folder, env=environment, check=True)
    report(install)
    with ExitStack() as running, (folder / "log").open("w") as log:
        for command in (serve, watch):
            started = subprocess.Popen(
                inside(f"exec {command.removesuffix('&')}"),
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=log,
            )
            running.callback(started.wait, 60)
            running.callback(started.terminate)

        def succeeds(command: str) -> bool:
            done = subprocess.run(
                inside(command), cwd=folder, env=environment, check=False, capture_output=True
            )
            return not done.returncode

        until(lambda: succeeds(request))
        report(request)
        address = open_page.rpartition(" ")[2]
        until(lambda: succeeds(f"curl -sf {address}"))
        report(watch)
        chromium = folder / "chromium"
        chromium.write_text(f'#!/bin/sh\nexec ip netns exec {_SPACE} chromium "$@"\n')
        chromium.chmod(0o755)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(address)
            page.locator(".u-over").first.wait_for(timeout=_SECONDS * 1000)
            browser.close()
        report(open_page)


def main() -> int:
    """Run; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="vitals-first-graph-") as name, network():
        folder = Path(name)
        folder.chmod(0o755)
        subprocess.run([sys.executable, "-m", "checks.distribution"], cwd=CHECKOUT, check=True)
        begin = time.monotonic()
        take(
            folder,
            CHECKOUT / "dist",
            lambda step: print(f"{time.monotonic() - begin:6.1f} s  {step}"),
        )
        seconds = time.monotonic() - begin
    print(f"{seconds:.0f} s from pip install to a first graph")
    if exceeded := budget.exceeded({"seconds to a first graph": seconds}, budget.of("first_graph")):
        print(exceeded)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
