"""A phone's way through the door: ``python -m bench.door.journey``, as root.

A real stack with the door on a network of its own (`ip netns`); Chromium, 390 pixels wide, runs
where only the door can be reached. It is refused without a login; with it, it follows the links of
the message of an alert, opens a trace, and creates a silence.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import HttpCredentials, Page, expect, sync_playwright

from stack.installation.paths import CHECKOUT
from stack.installation.ports import Ports
from stack.readiness import LOOPBACK, free_port
from vitals import secure_files

_SPACE, _HERE, _THERE = "vitals-door", "vitalsdoor0", "vitalsdoor1"
_DOOR, _PHONE = "10.231.7.1", "10.231.7.2"
_SECONDS = 180.0
_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_LINK = re.compile(r"(?:Board|Runbook|Silence): (https://\S+)")


@contextmanager
def network() -> Iterator[None]:
    """A network namespace with one link to this machine."""
    try:
        for words in (
            f"netns add {_SPACE}",
            f"link add {_HERE} type veth peer name {_THERE} netns {_SPACE}",
            f"addr add {_DOOR}/30 dev {_HERE}",
            f"link set {_HERE} up",
            f"-n {_SPACE} addr add {_PHONE}/30 dev {_THERE}",
            f"-n {_SPACE} link set {_THERE} up",
            f"-n {_SPACE} link set lo up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", _SPACE], check=False)
        with suppress(OSError):
            subprocess.run(["ip", "link", "del", _HERE], check=False, capture_output=True)


@contextmanager
def stack(folder: Path, ports: dict[str, int], url: str) -> Iterator[None]:
    """A watch with the door, whose one target is down."""
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ALERT_")},
        **{f"{name}_PORT": str(port) for name, port in ports.items()},
        "VITALS_DATA": str(folder / "data"),
        "PUBLIC_URL": url,
        "PUBLIC_LISTEN": url.removeprefix("https://"),
    }
    command = [sys.executable, "-m", "stack", "watch", "--fast", "--job", "shop"]
    with (folder / "out").open("w") as output:
        running = subprocess.Popen(
            [*command, f"{LOOPBACK}:{free_port()}"],
            cwd=CHECKOUT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: "the boards are at" in (folder / "out").read_text(), "the boards")
            wait_for(lambda: "\nReady." in (folder / "out").read_text(), "the stack")
            yield
        finally:
            running.terminate()
            running.wait(60)


def wait_for(condition: Any, what: str) -> Any:
    """Wait for a condition; returns what it found.

    Raises:
        TimeoutError: It did not come.
    """
    deadline = time.monotonic() + _SECONDS
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {_SECONDS:g} s")
        time.sleep(0.5)
    return found


def message(inbox: str) -> list[str]:
    """The links of the newest message that tells of an alert, as its receiver gets them."""
    with suppress(httpx.HTTPError):
        for mail in httpx.get(inbox, headers={"Accept": "application/json"}).json()["mails"]:
            if "FIRING" in mail["text"]:
                return _LINK.findall(mail["text"])
    return []


def store_trace(store: str) -> None:
    """Store a trace, as a service does."""
    now = time.time_ns()
    span = {
        "traceId": _TRACE,
        "spanId": "00f067aa0ba902b7",
        "name": "GET /orders",
        "kind": 2,
        "startTimeUnixNano": str(now - 400_000_000),
        "endTimeUnixNano": str(now),
    }
    service = {"key": "service.name", "value": {"stringValue": "shop"}}
    body = {
        "resourceSpans": [
            {"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [span]}]}
        ]
    }
    httpx.post(f"{store}/v1/traces", json=body).raise_for_status()


def follow(page: Page, links: list[str], url: str) -> None:
    """Follow the links, open the trace, create the silence.

    Raises:
        AssertionError: A page is not what the link says.
    """
    board, runbook, silence = links
    for link in links:
        if not link.startswith(f"{url}/"):
            raise AssertionError(f"{link} does not lead through {url}")
    page.goto(board)
    expect(page.get_by_role("banner")).to_be_visible()
    page.goto(runbook)
    expect(page.get_by_role("heading", name="Meaning")).to_be_visible()
    page.goto(f"{url}/traces/?id={_TRACE}")
    expect(page.get_by_text("GET /orders").first).to_be_visible()
    page.goto(silence)
    page.get_by_label("Comment").fill("on it")
    author = page.get_by_label(re.compile("Author|Created by|name", re.IGNORECASE))
    if author.count() and not author.first.input_value():
        author.first.fill("ann")
    page.get_by_role("button", name=re.compile("create|silence", re.IGNORECASE)).last.click()
    width = page.evaluate("document.documentElement.scrollWidth")
    if width > page.viewport_size["width"]:  # type: ignore[index]
        raise AssertionError(f"the page is {width} pixels wide")


def main() -> int:
    """Run; returns the exit code."""
    ports = {name: free_port() for name in Ports.chosen()}
    url = f"https://{_DOOR}:{free_port()}"
    with tempfile.TemporaryDirectory(prefix="vitals-door-") as name, network():
        folder = Path(name)
        folder.chmod(0o755)
        browser = folder / "chromium"
        secure_files.write(
            browser, f'#!/bin/sh\nexec ip netns exec {_SPACE} chromium "$@"\n', mode=0o755
        )
        with stack(folder, ports, url), sync_playwright() as playwright:
            store_trace(f"http://{LOOPBACK}:{ports['STORE']}")
            links = wait_for(lambda: message(f"http://{LOOPBACK}:{ports['INBOX']}/"), "a message")
            chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            phone: dict[str, Any] = {
                "viewport": {"width": 390, "height": 844},
                "ignore_https_errors": True,  # its authority is new to this browser
            }
            stranger = chromium.new_context(**phone).new_page()
            # Without a login Chromium shows its own page for the empty answer.
            with suppress(Exception):
                stranger.goto(url)
            if "Boards" in stranger.title() or stranger.locator("#root").count():
                print("a page was shown without a login")
                return 1
            password = (folder / "data/secrets/door-password").read_text().strip()
            login = HttpCredentials(username="watch", password=password)
            page = chromium.new_context(**phone, http_credentials=login).new_page()
            violations: list[str] = []
            page.on("console", lambda each: violations.append(each.text))
            follow(page, links, url)
            gate = f"http://{LOOPBACK}:{ports['ALERTMANAGER']}/api/v2/silences"
            silences = wait_for(lambda: httpx.get(gate).json(), "the silence")
            blocked = [text for text in violations if "Content Security Policy" in text]
            chromium.close()
        print("\n".join(links))
        print(json.dumps(silences[0]["matchers"]))
        print(f"{len(blocked)} refused by the content security policy", *blocked[:3], sep="\n")
        return 1 if blocked else 0


if __name__ == "__main__":
    sys.exit(main())
